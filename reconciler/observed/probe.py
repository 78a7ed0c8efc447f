"""Gathers the doctor's evidence: the network, one shell call, one libvirt connection."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from reconciler.errors import HostError
from reconciler.model.host import Host, Pool
from reconciler.observed import eventloop
from reconciler.observed.crew import call_within
from reconciler.observed.evidence import Evidence, Folder, Shell, Virt
from reconciler.observed.facts import raise_unless_unsupported, read_facts
from reconciler.observed.resources import read_pool
from reconciler.observed.trouble import explain, explain_text, slow
from reconciler.observed.uri import Route, openable, parse_uri

_SCRIPT = Path(__file__).with_name("probe.sh")
_CONNECT_SECONDS = 5.0


def gather(host: Host) -> Evidence:
    """Find out everything about a host, each step within the host's deadline. Changes nothing."""
    route = parse_uri(host.uri)
    resolve_error, connect_error = _reach(route, min(host.deadline, _CONNECT_SECONDS))
    if resolve_error or connect_error:
        return Evidence(host, route, resolve_error, connect_error)
    virt, virt_error = None, None
    try:
        virt = call_within(host.deadline, lambda: _ask_libvirt(host))
    except TimeoutError:
        virt_error = slow(host)
    except HostError as error:
        virt_error = error
    shell, shell_error = None, None
    path = virt.pool.path if virt is not None and virt.pool is not None else ""
    if route.over_ssh or (route.local and route.driver != "test"):
        try:
            shell = _ask_shell(host, route, path)
        except HostError as error:
            shell_error = error
    return Evidence(
        host=host, route=route, shell=shell, shell_error=shell_error, virt=virt, virt_error=virt_error
    )


def _reach(route: Route, seconds: float) -> tuple[str, str]:
    """Why the name has no address, and why the port does not answer; empty where they do."""
    if route.local:
        return "", ""
    try:
        addresses = socket.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
    except OSError as error:
        # ssh has names of its own (~/.ssh/config): leave it to ssh to say whether this one works.
        return ("", "") if route.over_ssh and _ssh_knows(route) else (error.strerror or str(error), "")
    trouble = ""
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as attempt:
                attempt.settimeout(seconds)
                attempt.connect(address)
                return "", ""
        except TimeoutError:
            trouble = f"no answer within {seconds:g} s"
        except OSError as error:
            trouble = error.strerror or str(error)
    return ("", "") if route.over_ssh and _ssh_knows(route) else ("", trouble)


def _ssh_knows(route: Route) -> bool:
    """True if ssh's configuration leads elsewhere than the plain name and port (HostName, ProxyJump)."""
    command = route.ssh_command()
    try:
        done = subprocess.run(
            [command[0], "-G", *command[1:]], check=False, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    options = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    jumps = {options.get("proxyjump", "none"), options.get("proxycommand", "none")} - {"none"}
    return done.returncode == 0 and (options.get("hostname") != route.host.lower() or bool(jumps))


def _ask_shell(host: Host, route: Route, pool_path: str) -> Shell:
    """Run the probe on the host: one ssh call, or a shell on this machine.

    Raises:
        HostError: We cannot log in, or it takes too long.
    """
    argument = shlex.quote(pool_path)
    command = ["sh", "-s", "--", pool_path]
    if not route.local:
        command = route.ssh_command(f"sh -s -- {argument}", timeout=max(1, int(host.deadline)))
    before = time.time()
    try:
        done = subprocess.run(
            command,
            check=False,
            input=_SCRIPT.read_text(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=host.deadline,
        )
    except subprocess.TimeoutExpired as error:
        raise slow(host) from error
    except OSError as error:
        raise explain_text(host, str(error)) from error
    if done.returncode != 0 and "date=" not in done.stdout:
        raise explain_text(host, done.stderr or f"ssh ended with status {done.returncode}")
    return parse_probe(done.stdout, before, time.time())


def parse_probe(output: str, before: float, after: float) -> Shell:
    """Read what `probe.sh` printed.

    Args:
        output: Its standard output; lines that are not ``key=value`` (a banner) are passed over.
        before: Our clock when it was started, seconds since the epoch.
        after: Our clock when it had ended.
    """
    values: dict[str, str] = {}
    folders: list[Folder] = []
    for line in output.splitlines():
        key, equals, value = line.partition("=")
        if key == "folder":
            with suppress(ValueError):
                mode, uid, gid, path = value.split(" ", 3)
                folders.append(Folder(path, int(mode, 8), int(uid), int(gid)))
        elif equals:
            values[key] = value.strip()
    date = float(values["date"]) if values.get("date", "").isdigit() else before
    # The date is cut to whole seconds: it may have been almost one second later.
    skew = min(0.0, date + 1 - before) + max(0.0, date - after)
    return Shell(values, tuple(reversed(folders)), skew)


def _ask_libvirt(host: Host) -> Virt:
    eventloop.ensure()
    uri = openable(host.uri)
    read_only = False
    try:
        raw = libvirt.open(uri)
    except libvirt.libvirtError as error:
        refusal = explain(host, error)
        try:
            raw = libvirt.openReadOnly(uri)
        except libvirt.libvirtError:
            raise refusal from error
        read_only = True
    eventloop.keep(raw)
    try:
        return _virt(host, raw, read_only)
    except libvirt.libvirtError as error:
        raise explain(host, error) from error
    finally:
        raw.close()
        eventloop.release(raw)


def _virt(host: Host, raw: libvirt.virConnect, read_only: bool) -> Virt:
    facts = read_facts(raw)
    capabilities = ET.fromstring(raw.getCapabilities())  # noqa: S314 - from libvirt, not from people
    pool, autostart = _default_pool(host, raw)
    return Virt(
        read_only=read_only,
        libvirt_version=facts.libvirt_version,
        hypervisor_version=facts.hypervisor_version,
        virt_types=facts.virt_types,
        security=frozenset(model.text or "" for model in capabilities.iterfind("host/secmodel/model")),
        qemu_user=_guest_user(capabilities),
        pool=pool,
        pool_autostart=autostart,
        networks=_networks(raw),
    )


def _guest_user(capabilities: ET.Element) -> tuple[int, int] | None:
    """User and group of ``<baselabel type='kvm'>+64055:+64055</baselabel>`` of the model ``dac``."""
    for model in capabilities.iterfind("host/secmodel[model='dac']"):
        user, _, group = (model.findtext("baselabel") or "").partition(":")
        if user.lstrip("+").isdigit() and group.lstrip("+").isdigit():
            return int(user), int(group)
    return None


def _default_pool(host: Host, raw: libvirt.virConnect) -> tuple[Pool | None, bool]:
    try:
        pool = raw.storagePoolLookupByName(host.pool)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise_unless_unsupported(error)
        return None, False
    return read_pool(pool), bool(pool.autostart())


def _networks(raw: libvirt.virConnect) -> dict[str, bool]:
    try:
        return {str(network.name()): bool(network.isActive()) for network in raw.listAllNetworks(0)}
    except libvirt.libvirtError as error:
        raise_unless_unsupported(error)
        return {}
