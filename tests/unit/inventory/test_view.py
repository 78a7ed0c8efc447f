"""Machines as Ansible hosts. What people wrote never becomes a template, a pattern or an option of ssh."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.domain import (
    AddressSource,
    DomainConfig,
    DomainState,
    GuestAddress,
    InterfaceConfig,
    ObservedDomain,
)
from reconciler.model.manifest import VirtualMachine
from reconciler.views.ansible import (
    NO_ADDRESS,
    UNSAFE,
    Guest,
    addresses_of,
    group_name,
    host_name,
    proxy_arguments,
    view,
)

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"


def guest(name: str = "web-1", *addresses: GuestAddress, **metadata: Any) -> Guest:
    vm = VirtualMachine.model_validate(
        {
            "metadata": {"name": name, **metadata},
            "spec": {"cpus": 1, "memory": "64Mi", "instanceType": "small"},
        }
    )
    config = DomainConfig(name, UID, interfaces=tuple(InterfaceConfig(mac, "default", None) for mac in MACS))
    domain = ObservedDomain("kvm1", config, config, DomainState.RUNNING)
    return Guest(vm, "kvm1", UID, domain, addresses)


def at(address: str, source: AddressSource = AddressSource.LEASE, mac: str = MACS[0]) -> GuestAddress:
    return GuestAddress(address, source, mac)


def never(_guest: Guest, _address: GuestAddress) -> None:
    return None


def test_a_machine_has_its_address_groups_and_variables() -> None:
    one = guest("web-1", at("192.0.2.9"), labels={"app": "web", "a.b/c": "x y"})
    made = view([one], never)
    assert made.notes == ()
    assert made.host("web-1") == {
        "ansible_host": "192.0.2.9",
        "reconciler": {
            "name": "web-1",
            "uid": UID,
            "host": "kvm1",
            "state": "running",
            "instance_type": "small",
            "labels": {"app": "web", "a.b/c": "x y"},
            "addresses": [
                {"address": "192.0.2.9", "source": "lease", "mac": MACS[0], "interface": ""},
            ],
        },
    }
    assert {group for group, members in made.listing.items() if members.get("hosts") == ["web-1"]} == {
        "reconciler_machines",
        "on_kvm1",
        "state_running",
        "type_small",
        "label_app_web",
        "label_a_b_c_x_y",
    }
    assert json.loads(json.dumps(made.listing)) == made.listing


def test_a_machine_whose_host_is_silent_is_listed_as_unknown() -> None:
    made = view([replace(guest(), domain=None)], never)
    assert made.listing["state_unknown"] == {"hosts": ["web-1"]}
    found = made.host("web-1")
    assert found is not None
    assert found["ansible_host"] == NO_ADDRESS


def test_the_best_address_comes_first() -> None:
    one = guest(
        "a",
        at("192.0.2.50", AddressSource.RESERVATION),
        at("2001:db8::9", AddressSource.AGENT),
        at("192.0.2.9", AddressSource.AGENT),
        at("192.0.2.1", AddressSource.AGENT, MACS[1]),
        at("127.0.0.1", AddressSource.AGENT),
        at("fe80::1", AddressSource.AGENT),
        at("169.254.1.1", AddressSource.AGENT),
        at("172.17.0.1", AddressSource.AGENT, "02:42:00:00:00:01"),
        at("-oProxyCommand=id", AddressSource.AGENT),
    )
    assert [each.address for each in addresses_of(one)] == [
        "192.0.2.9",
        "2001:db8::9",
        "192.0.2.50",
        "192.0.2.1",
    ]


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({"ansible/user": "admin", "ansible/port": "2222"}, {"ansible_user": "admin", "ansible_port": 2222}),
        (
            {"ansible/python_interpreter": "/usr/bin/python3"},
            {"ansible_python_interpreter": "/usr/bin/python3"},
        ),
        ({"ansible/user": "-oProxyCommand=id"}, {}),
        ({"ansible/user": "{{ lookup('pipe','id') }}"}, {}),
        ({"ansible/port": "22 -o ProxyCommand=id"}, {}),
        ({"ansible/python_interpreter": "/bin/sh -c id"}, {}),
        ({"ansible/connection": "local"}, {}),
        ({"ansible/ssh_common_args": "-o ProxyCommand=id"}, {}),
        ({"ansible/host": "192.0.2.1"}, {}),
    ],
)
def test_a_manifest_may_say_little_of_the_connection(
    annotations: dict[str, str], wanted: dict[str, object]
) -> None:
    made = view([guest("a", annotations=annotations)], never)
    found = dict(made.host("a") or {})
    assert found.pop("ansible_host") == NO_ADDRESS
    found.pop("reconciler")
    assert found == wanted
    assert len(made.notes) == len(annotations) - len(wanted)


TEMPLATES = st.text(alphabet="{%# }a'|", max_size=12)


def texts(value: Any) -> list[str]:
    """Every text that Ansible would look at for a template."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        if value.keys() == {UNSAFE}:
            return []
        return [*value, *(text for each in value.values() for text in texts(each))]
    return [text for each in value for text in texts(each)] if isinstance(value, list) else []


@given(name=st.text(alphabet="{%}# a~!&@:[],;", min_size=1, max_size=20), label=TEMPLATES, key=TEMPLATES)
def test_no_text_of_a_manifest_is_left_as_a_template(name: str, label: str, key: str) -> None:
    try:
        one = guest(name, labels={key: label})
    except ValueError:
        return
    made = view([one], never)
    assert [text for text in texts(dict(made.listing)) if "{" in text] == []
    assert UNSAFE not in (made.host(host_name(name)) or {})["reconciler"]["labels"]


def test_a_label_cannot_pass_for_one_of_ansibles_marks() -> None:
    labels = {UNSAFE: "x", "__ansible_vault": "y", "__ansible_type": "z", "ok": "w"}
    made = view([guest("a", labels=labels)], never)
    assert (made.host("a") or {})["reconciler"]["labels"] == {"ok": "w"}
    assert len(made.notes) == 3


@given(st.text(alphabet="".join(map(chr, range(32, 127))), min_size=1, max_size=63))
def test_names_are_told_apart_and_match_no_pattern(name: str) -> None:
    made = host_name(name)
    assert all(c.isalnum() or c in "-_.%" for c in made)
    assert host_name(made) == made or "%" in made
    assert group_name(name).replace("_", "").isalnum() or set(group_name(name)) == {"_"}


def test_groups_that_hold_two_things_are_named() -> None:
    made = view([guest("a", labels={"app": "a-b"}), guest("b", labels={"app": "a_b"})], never)
    assert made.listing["label_app_a_b"]["hosts"] == ["a", "b"]
    assert made.notes == ("the group label_app_a_b holds what is not the same: label app=a-b, label app=a_b",)


def test_the_way_through_a_host_is_one_word_for_ansible_and_one_command_for_ssh() -> None:
    command = ["ssh", "-T", "-i", "/a b/100%/key", "-l", "root", "--", "192.0.2.1"]
    option, value = shlex.split(proxy_arguments(command))
    assert option == "-o"
    line = value.removeprefix("ProxyCommand=").replace("%%", "%")
    assert shlex.split(line) == [*command[:-2], "-W", "[%h]:%p", "--", "192.0.2.1"]
    made = view([guest("a", at("192.0.2.9")), guest("b")], lambda _guest, _address: command)
    assert (made.host("a") or {})["ansible_ssh_common_args"] == proxy_arguments(command)
    assert "ansible_ssh_common_args" not in (made.host("b") or {})
