"""Cloud-init seeds: what stands on the ISO, and that text stays text whatever it says."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pycdlib import PyCdlib

from reconciler.errors import SecretError
from reconciler.model.guest import SecretRef
from reconciler.model.operations import PutSeed, SeedFile, Start
from reconciler.model.plan import Action, Impact
from reconciler.push.seed import content, iso, resolve
from reconciler.push.seed_server import SOCKET, served

HOSTILE = [
    "{{ lookup('pipe', 'id') }}",
    "'; rm -rf / #",
    "${HOME}",
    "\x85 \u2028 \ufeff \x7f",
    "&a [*a]",
    "yes",
]

json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


def refuse(ref: SecretRef) -> str:
    raise SecretError(f"{ref} is not set", hint="set it")


def files_on(image: bytes) -> dict[str, bytes]:
    """The files of an ISO, read by their Rock Ridge names."""
    disc = PyCdlib()
    disc.open_fp(io.BytesIO(image))
    assert disc.pvd.volume_identifier.decode().strip() == "cidata"
    found = {}
    for child in disc.list_children(rr_path="/"):
        if child is not None and child.is_file():
            name = child.rock_ridge.name().decode()
            out = io.BytesIO()
            disc.get_file_from_iso_fp(out, rr_path=f"/{name}")
            joliet = io.BytesIO()
            disc.get_file_from_iso_fp(joliet, joliet_path=f"/{name}")
            assert joliet.getvalue() == out.getvalue()
            found[name] = out.getvalue()
    disc.close()
    return found


def test_an_iso_reads_back() -> None:
    files = {
        "user-data": b"#cloud-config\n{}\n",
        "meta-data": b"{}",
        "network-config": b"",
        "vendor-data": b"x" * 9999,
    }
    assert files_on(iso(files)) == files


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_passed_as_it_is(text: str) -> None:
    assert content(SeedFile("user-data", "text", text), refuse) == text.encode()
    data = {"runcmd": [text], text: {"x": text}}
    seen = content(SeedFile("user-data", "cloud-config", json.dumps(data)), refuse)
    assert seen.startswith(b"#cloud-config\n")
    assert yaml.safe_load(seen) == data


@given(
    data=st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",)), max_size=10), json_data, max_size=5
    )
)
def test_a_mapping_means_the_same_to_a_yaml_reader(data: dict[str, object]) -> None:
    seen = content(SeedFile("meta-data", "yaml", json.dumps(data)), lambda _ref: "never asked")
    if "secretRef" not in json.dumps(data):
        assert yaml.safe_load(seen) == data


def test_secrets_are_filled_in_at_any_depth() -> None:
    data = {"users": [{"name": "a", "hashed_passwd": {"secretRef": {"env": "PW"}}}], "n": 1}
    seen = content(
        SeedFile("user-data", "cloud-config", json.dumps(data)), lambda ref: f'{ref.env}: "{{{{ x }}}}"\n'
    )
    assert yaml.safe_load(seen)["users"][0]["hashed_passwd"] == 'PW: "{{ x }}"'
    whole = content(
        SeedFile("user-data", "secret", '{"file": "/s"}'), lambda ref: f"#!/bin/sh\n# {ref.file}\n"
    )
    assert whole == b"#!/bin/sh\n# /s\n"


def test_a_secret_that_is_a_template_of_yaml_stays_one_string() -> None:
    data = {"password": {"secretRef": {"env": "PW"}}}
    bomb = "x\nruncmd: [rm -rf /]\n&a [*a, *a]"
    seen = content(SeedFile("user-data", "cloud-config", json.dumps(data)), lambda _ref: bomb)
    assert yaml.safe_load(seen) == {"password": bomb}


def seed(vm: str, ref: str) -> Action:
    file = SeedFile("user-data", "secret", json.dumps({"env": ref}))
    return Action(
        f"{vm}/put-seed", "h1", vm, "u", PutSeed("default", f"{vm}.iso", "0", (file,)), Impact.NONE, "test"
    )


def test_a_missing_secret_refuses_its_machine_and_no_other() -> None:
    def read(ref: SecretRef) -> str:
        return "text" if ref.env == "THERE" else refuse(ref)

    start = Action("b/start", "h1", "b", "u", Start(), Impact.NONE, "test")
    resolved = resolve([seed("a", "MISSING"), seed("b", "THERE"), start], read)
    assert resolved.refused == {"a": "the environment variable MISSING is not set; hint: set it"}
    assert resolved.files == {"b/put-seed": {"user-data": b"text"}}
    assert "text" not in repr(resolved)


def ask(directory: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(str(directory / SOCKET))
        channel.sendall(line)
        channel.shutdown(socket.SHUT_WR)
        return channel.makefile("rb").read()


def test_bytes_travel_over_a_private_socket_that_is_gone_afterwards(tmp_path: Path) -> None:
    files = {"a/put-seed": {"user-data": b"hello"}}
    with served(tmp_path, files):
        assert (tmp_path / SOCKET).stat().st_mode & 0o777 == 0o600
        assert ask(tmp_path, b"not json\n") == b""
        assert json.loads(ask(tmp_path, b'{"id": "b"}\n')) == {
            "size": 0,
            "message": "this run has no such seed",
        }
        header, _, data = ask(tmp_path, b'{"id": "a/put-seed"}\n').partition(b"\n")
        assert json.loads(header) == {"size": len(data)}
        assert files_on(data) == files["a/put-seed"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_seeds_has_no_socket(tmp_path: Path) -> None:
    with served(tmp_path, {}):
        assert list(tmp_path.iterdir()) == []


def test_a_folder_of_any_depth_will_do(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)
    with served(deep, {"a": {"user-data": b"hello"}}):
        assert (deep / SOCKET).is_socket()
