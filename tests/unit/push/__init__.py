"""Tests of the push that need neither libvirt nor Ansible, but for one or two."""
