"""What is: libvirt's answers as `ObservedHost`s. The only importer of libvirt in the daemon.

fleet.py       all hosts side by side, each within its deadline      <- start here
crew.py        threads, some of which may be stuck for ever
reader.py      one host over one connection
connection.py  opening, keepalive, events;  eventloop.py  the thread that delivers them
domains.py     bulk calls, and XML for what changed;  states.py  states and reasons in words
domain_xml.py  a domain's XML and the mark in it
resources.py   pools, networks, bridges;  facts.py  processors, memory, virtualisation
trouble.py     errors in words, with a remedy;  uri.py  libvirt URIs

doctor.py      what would stop us on a host: probe.py gathers evidence.py, findings.py judges it
"""
