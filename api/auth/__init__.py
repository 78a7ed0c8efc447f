"""Who asks: tokens, Basic, sessions, OIDC, client certificates; and what keeps guessing slow.

``gate.py`` tries the ways in turn; each has a module of its own.  ``forgery.py`` keeps other sites' pages
from using what a browser sends by itself, ``audit.py`` writes down what was done, ``policy.py`` is what must
hold before anything is served.  Nothing here believes a header about where a request came from.
"""
