"""Addresses outlive the process; what is known is not written again."""

from __future__ import annotations

from pathlib import Path

from reconciler.model.placement import AddressRecord
from reconciler.store.sql import SqlStore, open_store

ONE = AddressRecord("web 1", "net0", "lan", "10.9.0.2")
TWO = AddressRecord("web 1", "net0", "lan", "10.9.0.3")


def test_they_are_added_dropped_and_remembered(tmp_path: Path) -> None:
    store = SqlStore(tmp_path)
    store.put_addresses([ONE, TWO])
    store.put_addresses([ONE])
    assert store.addresses() == {ONE, TWO}
    store.drop_addresses([TWO, AddressRecord("nobody", "net0", "lan", "10.9.0.9")])
    store.close()
    again = open_store(tmp_path)
    assert again.addresses() == {ONE}
    assert again.addresses() is again.addresses()
    again.close()
