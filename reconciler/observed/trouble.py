"""What libvirt's and ssh's complaints mean: a status, the reason in words, and what to do next.

libvirt reports most failures to connect with one code (VIR_ERR_SYSTEM_ERROR) and passes ssh's standard
error on inside its message, so the text decides.  The first rule that matches wins.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import libvirt

from reconciler.errors import HostError
from reconciler.model.host import Host, HostStatus
from reconciler.observed.uri import parse_uri


@dataclass(frozen=True, slots=True)
class _Rule:
    status: HostStatus
    pattern: re.Pattern[str]
    words: str
    remedy: str


def _rule(status: HostStatus, pattern: str, words: str, remedy: str) -> _Rule:
    return _Rule(status, re.compile(pattern, re.IGNORECASE | re.DOTALL), words, remedy)


_SOCKET = r"(connect socket|cannot connect to|unix connect failed|libvirt-sock).*"

_RULES = (
    _rule(
        HostStatus.HOST_KEY,
        r"host identification has changed|host key for .* has changed|does not match the one in known_hosts",
        "its ssh host key is not the one in known_hosts",
        "find out why; if the host was installed anew, forget the old key with 'ssh-keygen -R HOST'",
    ),
    _rule(
        HostStatus.HOST_KEY,
        r"host key verification failed|host key is (un)?known",
        "its ssh host key is not known here",
        "log in once with ssh as the user that reconciler runs as, and accept the key",
    ),
    _rule(
        HostStatus.KEY_REFUSED,
        r"permission denied \([a-z, -]+\)|too many authentication failures|unprotected private key",
        "it refuses our ssh key",
        "add the public key to authorized_keys of the login user (ssh-copy-id), or correct the key file",
    ),
    _rule(
        HostStatus.DENIED,
        _SOCKET + r"permission denied",
        "we may log in but not use its libvirt socket",
        "add the login user to the group libvirt: 'usermod -aG libvirt USER'",
    ),
    _rule(
        HostStatus.NO_LIBVIRT,
        _SOCKET + r"(no such file|connection refused)",
        "nothing listens at its libvirt socket",
        "install and start libvirt there: 'systemctl enable --now libvirtd' (or virtqemud.socket)",
    ),
    _rule(
        HostStatus.SLOW,
        r"keepalive timeout|timed out during operation",
        "it stopped answering in the middle of a conversation",
        "look at its load, and whether libvirtd is stopped",
    ),
    _rule(
        HostStatus.UNREACHABLE,
        r"could not resolve hostname|unable to resolve address|name or service not known",
        "its name does not resolve",
        "correct ansible_host in the inventory, or the name service",
    ),
    _rule(
        HostStatus.UNREACHABLE,
        r"connection refused",
        "it refuses the connection: nothing listens at that port",
        "start sshd (or the libvirt listener that the URI names), or correct the port",
    ),
    _rule(
        HostStatus.UNREACHABLE,
        r"no route to host|network is unreachable|timed out|connection (closed|reset) by .* port"
        r"|kex_exchange_identification",
        "it cannot be reached over the network",
        "see whether it is switched on, and the network and firewall between",
    ),
    _rule(
        HostStatus.DENIED,
        r"certificate|x\.?509",
        "TLS fails on a certificate",
        "install the CA, client certificate and key where libvirt looks (https://libvirt.org/kbase/tlscerts.html)",
    ),
    _rule(
        HostStatus.DENIED,
        r"authentication (failed|unavailable|cancelled)|access denied|not authorized|permission denied",
        "libvirt refuses us",
        "add the login user to the group libvirt, or allow it in polkit (org.libvirt.unix.manage)",
    ),
    _rule(
        HostStatus.NO_LIBVIRT,
        r"no connection driver available|unsupported uri|unable to parse uri",
        "no libvirt driver answers to this URI",
        "correct reconciler_uri, or install the driver on the host",
    ),
    _rule(
        HostStatus.NO_LIBVIRT,
        r"end of file|cannot recv data|cannot write data|socket is closed|hangup|not found",
        "libvirt does not answer there",
        "look at 'systemctl status libvirtd' (or virtqemud) on the host",
    ),
)

_DENIED_CODES = frozenset(
    {
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_OPERATION_DENIED,
    }
)

_UNKNOWN = _rule(
    HostStatus.NO_LIBVIRT,
    "",
    "libvirt reports an error",
    "look at 'journalctl -u libvirtd' (or virtqemud) on the host",
)


def explain(host: Host, error: libvirt.libvirtError) -> HostError:
    """The error as one about this host; ``reason`` is a value of `HostStatus`."""
    text = str(error.get_error_message() or error)
    return explain_text(host, text, denied=error.get_error_code() in _DENIED_CODES)


def explain_text(host: Host, text: str, *, denied: bool = False) -> HostError:
    """Likewise for text alone, such as ssh's standard error.

    Args:
        host: The host that it is about.
        text: libvirt's message or ssh's standard error.
        denied: libvirt's code already says that access was denied.
    """
    rule = next((rule for rule in _RULES if rule.pattern.search(text)), _UNKNOWN)
    if denied and rule.status is not HostStatus.DENIED:
        rule = next(rule for rule in reversed(_RULES) if rule.status is HostStatus.DENIED)
    if rule.status is HostStatus.KEY_REFUSED:
        rule = _unreadable_key(host) or rule
    said = _last_words(text)
    message = f"{rule.words} ({said})" if said else rule.words
    return HostError(host.name, rule.status.value, message, hint=rule.remedy)


def _unreadable_key(host: Host) -> _Rule | None:
    """Ssh goes on without a key file that it cannot read, and says only that the host wants a key."""
    file = parse_uri(host.uri).params.get("keyfile")
    if not file:
        return None
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        words = f"we cannot read the key file {file}: {error.strerror}"
        remedy = "correct ansible_ssh_private_key_file, or let the user that reconciler runs as read the file"
        return _rule(HostStatus.KEY_REFUSED, "", words, remedy)
    return None


def slow(host: Host) -> HostError:
    """The host did not answer within its deadline."""
    return HostError(
        host.name,
        HostStatus.SLOW.value,
        f"it did not answer within {host.deadline:g} s",
        hint="see whether its libvirtd hangs ('virsh list' there) or the network drops packets; "
        "a slow line needs a larger reconciler_deadline",
    )


def _last_words(text: str) -> str:
    """The telling line of a message, which a login banner may have made long."""
    lines = [line.strip(" \r:@") for line in text.splitlines()]
    telling = [line for line in lines if any(c.isalpha() for c in line)]
    return telling[-1][:300] if telling else ""
