"""What must outlive the process and is not desired state. The only importer of SQL.

base.py        the `Store` protocol, made for a second backend
sql.py         that protocol on SQLite, put together from its parts:
  records.py     where machines are and are about to be
  journal.py     what an apply was about to do and has done
  events.py      what happened
  conditions.py  how machines and hosts are
  retries.py     which machines failed
  hosts.py       which hosts have answered
session.py     transactions and snapshots, shared by the parts
schema.py      tables, version, migrations
sqlite.py      the file, its modes, its pragmas
holder.py      only one process acts on a store
"""
