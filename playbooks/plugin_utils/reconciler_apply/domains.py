# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps on a domain as a whole. Each is idempotent, and looks before it acts.

A step returns a sentence if it changed something, and None if all was well already (see `executor`).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import libvirt

from . import mark
from .claims import taking
from .merge import merge, same, tidy
from .outcome import Step, StepError
from .session import Session
from .trouble import is_code

_OFF = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_NOSTATE)
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_READ = libvirt.VIR_DOMAIN_XML_INACTIVE
_READ_ALL = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_PLUG_PULLED_SECONDS = 30
_INIT_COMES_SECONDS = 5
_BALLOON_SECONDS = 8
_NEAR_KIB = 1024
_AGENT = "org.qemu.guest_agent.0"
_INIT = (libvirt.VIR_DOMAIN_SHUTDOWN_INITCTL, libvirt.VIR_DOMAIN_SHUTDOWN_SIGNAL)
_POWER_BUTTON = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN


def define(session: Session, step: Step) -> str | None:
    """Define a new domain; the name must be free, and the UUID ours.

    Ours that was undefined while it runs is defined again, and runs on.
    """
    existing = session.find(step["uid"])
    if existing is not None:
        session.require_ours(existing, step)
        if existing.isPersistent():
            return None
    holder = _by_name(session, step["name"])
    if holder is not None and existing is None:
        raise StepError(
            "NameTaken",
            f"the name {step['name']!r} belongs to another domain here, with the UUID {holder.UUIDString()}",
        )
    step["diff"] = ("", tidy(step["xml"]))
    session.about_to(f"define {step['name']}")
    flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE if step.get("validate") else 0
    with taking(session, step["uid"], step["xml"]):
        session.conn.defineXMLFlags(step["xml"], flags)
    return "defined"


def _by_name(session: Session, name: str) -> libvirt.virDomain | None:
    try:
        return session.conn.lookupByName(name)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise


def redefine(session: Session, step: Step) -> str | None:
    """Change some fields of the persistent configuration, and renew the mark."""
    domain = session.ours(step)
    if not domain.isPersistent():
        raise StepError("Transient", f"the domain {domain.name()!r} is transient: it has nothing to redefine")
    shown = domain.XMLDesc(_READ)
    step["diff"] = (tidy(shown), _merged(shown, step))
    current = domain.XMLDesc(_READ_ALL)
    wanted = _merged(current, step)
    if same(current, wanted):
        step["diff"] = None
        return None
    session.about_to(f"redefine {domain.name()}: {', '.join(step['fields']) or 'metadata'}")
    with taking(session, step["uid"], wanted):
        session.conn.defineXMLFlags(wanted, 0)
    return "redefined"


def _merged(current: str, step: Step) -> str:
    try:
        return merge(current, step["xml"], step["fields"])
    except ValueError as error:
        raise StepError("Unsupported", str(error), terminal=True) from error


def start(session: Session, step: Step) -> str | None:
    """Start it, unless it runs."""
    domain = session.ours(step)
    if domain.isActive():
        return None
    session.about_to(f"start {domain.name()}")
    try:
        with taking(session, step["uid"], domain.XMLDesc(_READ)):
            domain.create()
    except libvirt.libvirtError:
        if domain.isActive():  # somebody else was quicker
            return None
        raise
    return "started"


def stop(session: Session, step: Step) -> str | None:
    """Ask the guest to power off: its agent, then its power button; when the time is over pull the plug.

    A guest whose agent took the request gets half of the time before it is asked by the other way too.
    """
    domain = session.find(step["uid"])
    if domain is None:
        return None
    session.require_ours(domain, step)
    if _is_off(domain):
        return None
    session.about_to(f"stop {domain.name()}", slow=True)
    seconds = step["timeout"]
    if seconds:
        by_agent = _agent_listens(domain) and _asked(domain, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
        if by_agent and session.wait(lambda: _is_off(domain), seconds / 2):
            return "shut down by its guest agent"
        if by_agent:
            seconds /= 2
        asked = _pressed(session, domain, seconds) or by_agent
        if asked and session.wait(lambda: _is_off(domain), seconds):
            return "shut down"
        why = f"it did not shut down within {step['timeout']} s" if asked else "nobody there could be asked"
    _pull_the_plug(session, domain)
    return f"powered off: {why}" if step["timeout"] else "powered off"


def _pull_the_plug(session: Session, domain: libvirt.virDomain) -> None:
    try:
        domain.destroy()
    except libvirt.libvirtError:
        if not _is_off(domain):
            raise
    if not session.wait(lambda: _is_off(domain), _PLUG_PULLED_SECONDS):
        raise StepError("StillRunning", f"the domain {domain.name()!r} still runs after its plug was pulled")


def _agent_listens(domain: libvirt.virDomain) -> bool:
    """True if a guest agent has its end of the channel open."""
    channels = ET.fromstring(domain.XMLDesc(0)).iterfind("devices/channel/target")
    return any(c.get("name") == _AGENT and c.get("state") == "connected" for c in channels)


def _pressed(session: Session, domain: libvirt.virDomain, seconds: float) -> bool:
    """Press the power button; a container has none, and its init gets asked in both ways that there are.

    libvirt takes the first for done even where nothing reads it; an init that knows it ignores the second.
    A container that was started just now has no init yet: it gets some of the seconds.
    """
    if domain.OSType() == "exe":

        def asked() -> bool:
            told = [_asked(domain, way) for way in _INIT]
            return any(told)

        return session.wait(asked, min(seconds, _INIT_COMES_SECONDS))
    return _asked(domain, _POWER_BUTTON) or _asked(domain, 0)


def _asked(domain: libvirt.virDomain, way: int) -> bool:
    """Ask for a shutdown; False where nobody can hear it."""
    try:
        domain.shutdownFlags(way)
    except libvirt.libvirtError:
        return _is_off(domain)
    return True


def _is_off(domain: libvirt.virDomain) -> bool:
    try:
        return domain.state()[0] in _OFF
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):  # a transient domain is gone once it is off
            return True
        raise


def set_memory(session: Session, step: Step) -> str | None:
    """Move the balloon of the running domain."""
    domain = session.ours(step)
    kib = -(-step["memory"] // 1024)
    if not domain.isActive() or domain.info()[2] == kib:
        return None
    session.about_to(f"set the memory of {domain.name()} to {kib} KiB")
    domain.setMemoryFlags(kib, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    # It is the guest that moves memory; were this no failure, one that cannot would be asked for ever.
    if not session.wait(lambda: abs(domain.info()[2] - kib) < _NEAR_KIB, _BALLOON_SECONDS):
        held = f"the guest has {domain.info()[2]} KiB and was asked for {kib} KiB"
        raise StepError("GuestHoldsMemory", f"{held}: does it have a balloon driver?")
    return f"memory set to {kib} KiB"


def set_cpus(session: Session, step: Step) -> str | None:
    """Plug or unplug cpus of the running domain."""
    domain = session.ours(step)
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    if not domain.isActive() or domain.vcpusFlags(live) == step["cpus"]:
        return None
    session.about_to(f"set the cpus of {domain.name()} to {step['cpus']}")
    try:
        domain.setVcpusFlags(step["cpus"], live)
    except libvirt.libvirtError as error:
        has = domain.vcpusFlags(live)
        if not domain.isActive() or has <= step["cpus"]:
            raise
        # Those that it was started with never go, and the guest has to let go of the others.
        told = f"the guest keeps {has} cpus and was asked for {step['cpus']}: {error.get_error_message()}"
        raise StepError("GuestHoldsCpus", f"{told}; its next start has {step['cpus']}") from error
    return f"cpus set to {step['cpus']}"


def set_description(session: Session, step: Step) -> str | None:
    """Change the description of the running domain; empty removes it."""
    domain = session.ours(step)
    kind, live = libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, libvirt.VIR_DOMAIN_AFFECT_LIVE
    if not domain.isActive() or _description(domain) == step["description"]:
        return None
    session.about_to(f"change the description of {domain.name()}")
    domain.setMetadata(kind, step["description"] or None, None, None, live)
    return "description changed"


def _description(domain: libvirt.virDomain) -> str:
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return ""
        raise
    return str(text)


def set_autostart(session: Session, step: Step) -> str | None:
    """Start with the host, or not."""
    domain = session.ours(step)
    if bool(domain.autostart()) == step["autostart"]:
        return None
    session.about_to(f"turn autostart of {domain.name()} {'on' if step['autostart'] else 'off'}")
    domain.setAutostart(int(step["autostart"]))
    return "autostart on" if step["autostart"] else "autostart off"


def write_mark(session: Session, step: Step) -> str | None:
    """Write our mark, the explicit act that makes a domain ours; another installation's is respected."""
    domain = session.find(step["uid"])
    if domain is None:
        raise StepError("DomainMissing", f"there is no domain with the UUID {step['uid']} on this host")
    found = session.ownership(domain)
    if found is not None and found.owner != session.owner:
        raise StepError(
            "NotOurs", f"the domain {domain.name()!r} is left alone: it belongs to {found.owner!r}"
        )
    wanted = mark.unprefixed(step["xml"])
    if all(same(_mark_at(domain, place), wanted) for place in _places(domain)):
        return None
    session.about_to(f"mark {domain.name()} as ours")
    _set_mark(domain, wanted)
    return "marked"


def remove_mark(session: Session, step: Step) -> str | None:
    """Remove our mark; the domain is nobody's then."""
    domain = session.find(step["uid"])
    if domain is None or session.ownership(domain) is None:
        return None
    session.require_ours(domain, step)
    session.about_to(f"remove our mark from {domain.name()}")
    _set_mark(domain, None)
    return "unmarked"


def _places(domain: libvirt.virDomain) -> list[int]:
    """Where a mark stands. The running instance first: the persistent mark decides, so it comes last."""
    live, config = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    return [live] * bool(domain.isActive()) + [config] * bool(domain.isPersistent())


def _mark_at(domain: libvirt.virDomain, place: int) -> str:
    try:
        return str(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, mark.NAMESPACE, place))
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            return "<none/>"
        raise


def _set_mark(domain: libvirt.virDomain, text: str | None) -> None:
    for place in _places(domain):
        try:
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, mark.PREFIX, mark.NAMESPACE, place)
        except libvirt.libvirtError as error:
            if text is not None or not is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA):
                raise


def undefine(session: Session, step: Step) -> str | None:
    """Remove the domain; its disks stay."""
    domain = session.find(step["uid"])
    if domain is None:
        return None
    session.require_ours(domain, step)
    if domain.isActive():
        raise StepError("WrongState", f"the domain {domain.name()!r} still runs")
    session.about_to(f"undefine {domain.name()}")
    try:
        domain.undefineFlags(_UNDEFINE)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG):
            raise
        domain.undefine()  # a driver without those things
    return "undefined"
