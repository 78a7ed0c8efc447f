"""Push: a plan becomes XML, a file per host, and one ansible-runner run. The only importer of both.

render.py       DomainConfig -> libvirt's XML, by the Jinja files in templates/
template.py     the user's own template, in a sandbox
fragments.py    what such a template may contain, and how it joins the domain
host_plan.py    Plan -> one JSON document per host, which the action plugin reads
seed.py         cloud-init files with their secrets, and the ISO; seed_server.py hands it to the worker
run_dir.py      the private folder of a run: documents, progress, locks
pusher.py       runs it, and gives every action exactly one result
orphans.py      waits for the workers of a daemon that died
"""
