# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's errors in words: a reason for programs, a sentence for people, and whether to try again."""

from __future__ import annotations

import re

import libvirt

from .outcome import StepError

_REASONS = {
    libvirt.VIR_ERR_NO_DOMAIN: "DomainMissing",
    libvirt.VIR_ERR_NO_STORAGE_POOL: "PoolMissing",
    libvirt.VIR_ERR_NO_STORAGE_VOL: "VolumeMissing",
    libvirt.VIR_ERR_NO_NETWORK: "NetworkMissing",
    libvirt.VIR_ERR_STORAGE_POOL_BUILT: "PoolBroken",
    libvirt.VIR_ERR_AUTH_FAILED: "AccessDenied",
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: "AccessDenied",
    libvirt.VIR_ERR_AUTH_CANCELLED: "AccessDenied",
    libvirt.VIR_ERR_ACCESS_DENIED: "AccessDenied",
    libvirt.VIR_ERR_OPERATION_DENIED: "AccessDenied",
    libvirt.VIR_ERR_OPERATION_TIMEOUT: "DomainBusy",
    libvirt.VIR_ERR_OPERATION_INVALID: "WrongState",
    libvirt.VIR_ERR_DOM_EXIST: "NameTaken",
    libvirt.VIR_ERR_NO_MEMORY: "HostOutOfMemory",
    libvirt.VIR_ERR_RPC: "HostUnreachable",
    libvirt.VIR_ERR_NO_CONNECT: "HostUnreachable",
    libvirt.VIR_ERR_INVALID_CONN: "HostUnreachable",
    libvirt.VIR_ERR_XML_ERROR: "InvalidDomain",
    libvirt.VIR_ERR_XML_DETAIL: "InvalidDomain",
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: "InvalidDomain",
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: "Unsupported",
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: "Unsupported",
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: "Unsupported",
    libvirt.VIR_ERR_NO_SUPPORT: "Unsupported",
}
_TERMINAL = frozenset(["InvalidDomain", "Unsupported"])
"""The same request would be refused again, whatever the host does meanwhile."""

# What libvirt has no code for, and tells in the text only.
_BY_TEXT = (
    (r"No space left on device|ENOSPC|not enough free space", "PoolFull"),
    (r"Cannot allocate memory|cannot set up guest memory", "HostOutOfMemory"),
    (r"(Cannot access|Could not open|Cannot get) .*No such file or directory", "DiskMissing"),
    (r"network '.*' is not active", "NetworkInactive"),
    (r"Cannot get interface MTU|No such device|bridge .* does not exist", "BridgeMissing"),
    (r"already exists with uuid|already in use by", "NameTaken"),
    (r"Failed to get \"write\" lock", "DiskInUse"),
    (r"client socket is closed|Cannot recv data|connection (was )?reset|keepalive", "HostUnreachable"),
)


def failure(error: libvirt.libvirtError) -> StepError:
    """The error as a `StepError`."""
    text = str(error.get_error_message() or error)
    for pattern, reason in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return StepError(reason, text)
    reason = _REASONS.get(error.get_error_code(), "LibvirtError")
    return StepError(reason, text, terminal=reason in _TERMINAL)


def is_code(error: libvirt.libvirtError, *codes: int) -> bool:
    """True if libvirt says one of these."""
    return error.get_error_code() in codes
