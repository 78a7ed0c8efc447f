"""YAML text -> model: the desired state and the inventory. Every mistake says file, line and column.

yaml_file.py      bytes -> YAML nodes -> plain data, within bounds
explain.py        a validation error -> a sentence for people
decode.py         one YAML document -> one manifest
tree.py, git.py   where files come from: a folder, or a commit of a git repository
source.py         all files -> DesiredState, reading again only what changed
check.py          what can be wrong between objects
images.py         image files on the controller: digests and headers
inventory.py      Ansible's inventory -> hosts
host_vars.py      one host's variables -> Host
host_uri.py       Ansible's connection variables -> a libvirt URI
config.py         reconciler.yaml
schema.py         JSON Schema for editors, described by descriptions.py
writer.py         manifest -> YAML
rivals.py         what cannot be true of all files together
index.py          where each object stands
refs.py           where a git ref stands, without a process
cat_file.py       files of a commit, from one process
edit.py, splice.py  a field of a manifest changes in its file, and nothing else
draft.py, commit.py a change that a person makes with a command
writes.py         the repository as programs read and write it
repository/       what that is made of
"""
