"""What others wrote -> manifests. Pure: texts go in, manifests and mistakes come out.

seed.py        the lists of the older interfaces: hosts, images, types
json_lines.py  JSON that knows on which line each object stands
unmodelled.py  what a domain's XML has and a manifest does not say

A domain itself becomes a manifest in `planner.adopt`, so that import and adoption cannot differ.
"""
