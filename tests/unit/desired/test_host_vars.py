from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.desired.host_vars import HostVariables, make_host
from reconciler.model.host import Host

HERE = Path("/nonexistent")


def host(**variables: object) -> Host:
    made, _, mistakes = make_host("h1", variables, HERE)
    assert mistakes == []
    assert made is not None
    return made


def mistakes(**variables: object) -> list[str]:
    made, _, found = make_host("h1", variables, HERE)
    assert made is None
    return found


def test_the_defaults_are_those_of_the_model() -> None:
    assert host(reconciler_uri="test:///default") == Host("h1", "test:///default")
    ours = {name: getattr(HostVariables(), name) for name in HostVariables.model_fields if name != "uri"}
    assert ours == {name: getattr(Host("x", "y"), name) for name in ours}


def test_values_as_yaml_and_as_ini_give_them() -> None:
    yaml = host(
        reconciler_labels={"rack": "r1"},
        reconciler_cpu_overcommit=2,
        reconciler_reserved_memory="2Gi",
        reconciler_maintenance=True,
        reconciler_deadline="1m30s",
        reconciler_xml_allow=["hostdev"],
        reconciler_virt_type="kvm",
        reconciler_pool="fast pool",
        other="{{ not ours }}",
    )
    ini = host(
        reconciler_labels="rack=r1",
        reconciler_cpu_overcommit="2.0",
        reconciler_reserved_memory=2147483648,
        reconciler_maintenance="yes",
        reconciler_deadline="90",
        reconciler_xml_allow="hostdev,",
        reconciler_virt_type="kvm",
        reconciler_pool="fast pool",
    )
    assert yaml == ini
    assert yaml.labels == {"rack": "r1"}
    assert yaml.deadline == 90.0
    assert host(reconciler_deadline=0.5).deadline == 0.5


def test_every_mistake_is_named() -> None:
    assert mistakes(
        reconciler_lables={},
        reconciler_cpu_overcommit=-1,
        reconciler_memory_overcommit=float("inf"),
        reconciler_reserved_memory="2GB",
        reconciler_virt_type="xen",
        reconciler_deadline=0,
        reconciler_labels={"rack": 1},
        reconciler_maintenance="maybe",
        reconciler_uri="localhost",
        reconciler_pool="",
    ) == [
        "reconciler_uri: 'localhost' is not a libvirt URI such as qemu+ssh://root@host/system",
        'reconciler_labels.rack: expected text, found the number 1: write it in quotes, "1"',
        "reconciler_cpu_overcommit: must be more than 0.0, found the number -1",
        "reconciler_memory_overcommit: expected a number, found the number inf",
        "reconciler_reserved_memory: '2GB' is not a size: write for example 512Mi, 2Gi or plain bytes",
        'reconciler_virt_type: expected one of kvm, qemu, lxc, test, found the text "xen"',
        "reconciler_pool: a name has 1 to 63 characters",
        'reconciler_maintenance: expected true or false, found the text "maybe"',
        "reconciler_deadline: must be more than 0, found the number 0",
        "reconciler_lables: unknown variable `reconciler_lables`, did you mean `reconciler_labels`?",
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"reconciler_labels": {"rack": "{{ rack }}"}},
        {"reconciler_xml_allow": ["{% if x %}"]},
        {"ansible_host": "{{ ip }}"},
        {"ansible_ssh_private_key_file": "{{ inventory_dir }}/id"},
    ],
)
def test_a_template_is_not_plain_data(variables: dict[str, object]) -> None:
    (name,) = variables
    assert mistakes(**variables) == [
        f"{name}: a template ({{{{ … }}}}) cannot stand here: write the value itself"
    ]


def test_a_vault_value_is_not_plain_data() -> None:
    assert mistakes(ansible_user={"__ansible_vault": "x"}) == [
        "ansible_user: a vault value cannot stand here: it is not secret"
    ]
