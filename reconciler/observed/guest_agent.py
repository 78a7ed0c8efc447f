"""Talks to the QEMU guest agent."""

from __future__ import annotations

import libvirt
import libvirt_qemu

_SECONDS = 2
_SILENT = frozenset(
    getattr(libvirt, name)
    for name in (
        "VIR_ERR_AGENT_UNRESPONSIVE",
        "VIR_ERR_AGENT_UNSYNCED",
        "VIR_ERR_AGENT_COMMAND_FAILED",
        "VIR_ERR_AGENT_COMMAND_TIMEOUT",
        "VIR_ERR_ARGUMENT_UNSUPPORTED",
        "VIR_ERR_CONFIG_UNSUPPORTED",
        "VIR_ERR_OPERATION_INVALID",
        "VIR_ERR_OPERATION_TIMEOUT",
        "VIR_ERR_NO_SUPPORT",
        "VIR_ERR_INVALID_ARG",
        "VIR_ERR_NO_DOMAIN",
    )
    if hasattr(libvirt, name)  # newer libvirts tell more of them apart
)


def answers_ping(raw: libvirt.virConnect, uuid: str) -> bool:
    """True if the agent of this domain answers within two seconds.

    Raises:
        libvirt.libvirtError: The host does not answer.
    """
    try:
        domain = raw.lookupByUUIDString(uuid)
        return libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', _SECONDS, 0) is not None
    except libvirt.libvirtError as error:
        if error.get_error_code() in _SILENT:
            return False
        raise
