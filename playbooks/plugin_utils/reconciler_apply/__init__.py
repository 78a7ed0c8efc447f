# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out one host's part of a plan over libvirt. Knows nothing of Ansible, nor of the daemon.

executor.py    the order: what may run side by side, what is skipped, when to give up
session.py     one host while its plan is carried out: connection, ownership, check mode, waiting
domains.py     define, redefine, start, stop, mark, undefine …
devices.py     disks and interfaces of a running domain
volumes.py     disks in storage pools
images.py      base images, put into a pool once
seeds.py       cloud-init seeds, whose bytes are in no file of ours
merge.py       pure: new values into an existing domain's XML
mark.py        pure: who owns a domain
guard.py       the locks that tell a worker whether anybody still waits for it
outcome.py     what became of a step;  trouble.py  libvirt's errors in words

The action plugin `reconciler_apply` beside this folder is the only one that imports Ansible.
"""
