from __future__ import annotations

import os
import subprocess
from pathlib import Path

import libvirt
import pytest

from reconciler.desired.host_uri import make_uri


def uri(tmp_path: Path, virt_type: str | None = None, name: str = "h1", **variables: object) -> str:
    made, wrapper = make_uri(name, variables, virt_type, tmp_path)
    assert wrapper is None
    return made


def test_plain_connections(tmp_path: Path) -> None:
    assert uri(tmp_path) == "qemu+ssh://h1/system?no_tty=1"
    assert uri(tmp_path, ansible_connection="local") == "qemu:///system"
    assert uri(tmp_path, "lxc", ansible_connection="local") == "lxc:///"
    assert uri(tmp_path, "lxc") == "lxc+ssh://h1/?no_tty=1"
    assert uri(tmp_path, ansible_host="2001:db8::1", ansible_port=2222) == (
        "qemu+ssh://[2001:db8::1]:2222/system?no_tty=1"
    )
    assert uri(
        tmp_path, ansible_host="192.0.2.1", ansible_user="root", ansible_ssh_private_key_file="/k y/id"
    ) == ("qemu+ssh://root@192.0.2.1/system?keyfile=/k%20y/id&no_tty=1")
    assert uri(tmp_path, ansible_host="old", ansible_ssh_host="new") == "qemu+ssh://new/system?no_tty=1"


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_ssh_common_args": "-o StrictHostKeyChecking=no"},
        {"ansible_ssh_extra_args": "-oStrictHostKeyChecking=no"},
        {"ansible_ssh_host_key_checking": False},
        {"ansible_host_key_checking": "no", "ansible_ssh_common_args": "-o 'StrictHostKeyChecking=no'"},
        {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s -o StrictHostKeyChecking=no"},
    ],
)
def test_a_host_key_that_nobody_checks(tmp_path: Path, variables: dict[str, object]) -> None:
    assert uri(tmp_path, **variables) == "qemu+ssh://h1/system?no_tty=1&no_verify=1"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ansible_connection": "community.docker.docker"}, "set reconciler_uri"),
        ({"ansible_port": "ssh"}, "ansible_port: 'ssh' is not a port"),
        ({"ansible_ssh_private_key_file": "keys/id"}, "write an absolute path"),
        ({"ansible_ssh_common_args": "-o 'x"}, "ansible_ssh_common_args: No closing quotation"),
    ],
)
def test_what_cannot_become_a_uri(tmp_path: Path, variables: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_uri("h1", variables, None, tmp_path)


def test_other_ssh_options_go_into_a_script_that_libvirt_starts(tmp_path: Path) -> None:
    """libvirt itself starts the script: a stand-in for ssh writes down what it was called with."""
    log = tmp_path / "log"
    fake = tmp_path / "fake ssh"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {log}\n')
    fake.chmod(0o700)
    variables = {
        "ansible_host": "fe80::1%lo",
        "ansible_port": 2222,
        "ansible_user": "o'neill @x",
        "ansible_ssh_private_key_file": "/keys/a&b c",
        "ansible_ssh_executable": str(fake),
        "ansible_ssh_common_args": "-o ProxyJump=b -o 'UserKnownHostsFile=/a b; touch x' -o ControlPath=/x",
    }
    made, wrapper = make_uri("host/1 $(id)", variables, None, tmp_path / "state dir")
    assert wrapper is not None
    wrapper.write()
    assert wrapper.path.parent.stat().st_mode & 0o777 == 0o700
    assert os.access(wrapper.path, os.X_OK)
    before = wrapper.path.stat()
    wrapper.write()
    assert wrapper.path.stat() == before

    libvirt.registerErrorHandler(lambda *_: None, None)
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(made)
    said = log.read_text().splitlines()
    assert said[4:10:2] == ["-o"] * 3
    assert said[5:10:2] == ["ConnectTimeout=30", "ServerAliveInterval=5", "ServerAliveCountMax=3"]
    assert [*said[:4], *said[10:21]] == [
        *("-o", "ProxyJump=b", "-o", "UserKnownHostsFile=/a b; touch x"),
        *("-p", "2222", "-l", "o'neill @x", "-i", "/keys/a&b c"),
        *("-T", "-e", "none", "-o", "BatchMode=yes"),
    ]
    assert said[21:23] == ["--", "fe80::1%lo"]


def test_the_script_is_valid_shell(tmp_path: Path) -> None:
    _, wrapper = make_uri("`id`\n$(x)", {"ansible_ssh_common_args": "-F '/x y' -v"}, None, tmp_path)
    assert wrapper is not None
    wrapper.write()
    subprocess.run(["sh", "-n", str(wrapper.path)], check=True)
    assert wrapper.text.splitlines()[2].startswith("exec ssh -F '/x y' -v -o ConnectTimeout=")
