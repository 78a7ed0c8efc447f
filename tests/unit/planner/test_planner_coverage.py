"""Every field that we model is compared, and some scenario shows its drift."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import yaml

from reconciler.model.domain import DiskConfig, DomainConfig, InterfaceConfig
from reconciler.model.manifest import VirtualMachineSpec
from reconciler.planner.fields import SCALARS
from reconciler.planner.ignore import IGNORABLE

CASES = Path(__file__).parents[2] / "cases" / "plan"
LISTS = {"disks": DiskConfig, "interfaces": InterfaceConfig}
# Identity: a domain with another UUID is another domain, a device with another key is another device.
KEYS = {"uuid", "target", "mac"}
# Names of devices are ours: no host knows them.
OURS = {"name", "volume"}
# An address is reserved in the network, and drifts there: networks.yaml.
ELSEWHERE = {"address"}
# What a manifest says about us rather than about the machine.
POLICY = {
    "spread",
    "updatePolicy",
    "deletionPolicy",
    "stopTimeout",
    "protect",
    "suspend",
    "ignore",
    "cloneOf",
}
POLICY |= {"readiness", "provision"}


def drifted_paths() -> set[str]:
    """Paths of every difference that the scenarios in drift.yaml expect."""
    found = set()
    for case in yaml.safe_load((CASES / "drift.yaml").read_text()):
        for change in case["expect"].get("changes", {}).values():
            for entry in [*change.get("fields", []), *change.get("deferred", [])]:
                found.add(entry.rpartition(" ")[0])
    return found


def test_the_table_and_the_lists_cover_the_domain() -> None:
    names = {field.name for field in fields(DomainConfig)}
    # A seed is a device and what is on it: guest.py compares both.
    assert {field.name for field in SCALARS} | LISTS.keys() | {"uuid", "seed"} == names


def test_every_field_of_a_domain_drifts_in_a_scenario() -> None:
    heads = {path.partition("[")[0].partition(".")[0] for path in drifted_paths()}
    assert {field.name for field in fields(DomainConfig)} - KEYS - heads == set()


def test_every_attribute_of_a_device_drifts_in_a_scenario() -> None:
    paths = drifted_paths()
    for head, kind in LISTS.items():
        attributes = {path.rpartition(".")[2] for path in paths if path.startswith(head) and "]." in path}
        present = {field.name for field in fields(kind)}
        missing = present - KEYS - OURS - ELSEWHERE - attributes
        # An interface that moved from a network to a bridge shows both; a scenario of updates has that.
        assert missing <= {"bridge"}, f"{head}: {missing}"
        assert any(path.startswith(f"{head}[") and path.endswith("]") for path in paths)


def test_every_field_of_a_manifest_can_be_ignored_or_says_something_about_us() -> None:
    assert IGNORABLE.keys() <= {field.alias for field in VirtualMachineSpec.model_fields.values()}
    names = {field.alias for field in VirtualMachineSpec.model_fields.values() if field.alias}
    assert names - IGNORABLE.keys() <= POLICY
