"""The vocabulary: frozen types, units in their docstrings. Imports nothing else of ours.

units.py      sizes and durations as people write them
manifest.py   what a user declares: VirtualMachine, InstanceType, Image
identity.py   names and MACs that the user left to us
desired.py    everything a source holds at one revision
host.py       a host of the inventory, and what libvirt reports about it
domain.py     a domain's configuration (the common tongue of desired, applied and observed)
placement.py  where a machine is or shall be, and why
plan.py       actions, changes and the plan
status.py     conditions, events, retry state
"""
