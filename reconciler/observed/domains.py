"""The domains of one host: bulk calls each time, XML only for what changed.

A domain's XML is read when the domain is new, when what the bulk call tells of it differs from last
time, when an event named it, and once in `REREAD` seconds in case an event was lost: libvirt sends none
for ``virsh setmem --config`` and its like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from reconciler.model.domain import DomainState, ObservedDomain
from reconciler.model.host import Host
from reconciler.observed.domain_xml import (
    DomainXmlError,
    ParsedDomain,
    bare_config,
    parse_domain,
    with_sizes,
)
from reconciler.observed.facts import raise_unless_unsupported
from reconciler.observed.states import reason_in_words, state_of

REREAD = 600.0
"""Seconds within which every domain's XML is read again, whatever happens; spread over the reads."""

_STATS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
# Without waiting: one domain busy with a long job must not hold up what we learn of all the others.
_STATS_FLAGS: tuple[int, ...] = (libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, 0)

_TELLING = frozenset(
    {
        "state.state",
        "state.reason",
        "balloon.current",
        "balloon.maximum",
        "vcpu.current",
        "vcpu.maximum",
        "block.count",
        "net.count",
    }
)
_TELLING_ENDS = (".name", ".path", ".capacity")

Signature = dict[str, Any]


@dataclass(slots=True)
class _Entry:
    """A domain as last read.

    Attributes:
        domain: What we reported.
        signature: What the bulk call told then.
        flags: Autostart and transient, as the bulk lists told.
        digests: Hashes of the persistent and the live XML, which tell whether parsing can be left out.
        parsed: What they were parsed into.
        due: When the XML is read again in any case.
    """

    domain: ObservedDomain
    signature: Signature
    flags: tuple[bool, bool]
    digests: tuple[int, int]
    parsed: tuple[ParsedDomain, ParsedDomain | None]
    due: float


class Domains:
    """Reads the domains of one host over one connection after another."""

    def __init__(self, host: Host, owner: str, clock: Callable[[], float]) -> None:
        self._host = host.name
        self._in_process = host.uri.startswith("test:///")
        self._owner = owner
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._current: Mapping[str, ObservedDomain] = {}
        self._stats_flags: int | None = _STATS_FLAGS[0]

    def distrust(self) -> None:
        """Read every XML again next time: events may have been missed."""
        self._stats_flags = _STATS_FLAGS[0]
        for entry in self._entries.values():
            entry.due = 0.0

    def read(self, raw: libvirt.virConnect, changed: Iterable[str]) -> Mapping[str, ObservedDomain]:
        """All domains by UUID; the same mapping as last time if none changed.

        Args:
            raw: An open connection.
            changed: UUIDs that events named.

        Raises:
            libvirt.libvirtError: The host does not answer.
        """
        for uuid in changed:
            if uuid in self._entries:
                self._entries[uuid].due = 0.0
        autostart = _uuids(raw, libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
        transient = _uuids(raw, libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
        listing = self._listing(raw)
        now = self._clock()
        entries: dict[str, _Entry] = {}
        for place, (domain, signature) in enumerate(listing, 1):
            uuid = str(domain.UUIDString())
            flags = (uuid in autostart, uuid in transient)
            entry = self._entries.get(uuid)
            if entry is None or entry.due <= now or entry.flags != flags or _differs(entry, signature):
                due = now + REREAD * (place / len(listing) if entry is None else 1.0)
                entry = self._reread(domain, signature, flags, due)
            if entry is not None:
                entries[uuid] = entry
        self._entries = entries
        return self._mapping()

    def _mapping(self) -> Mapping[str, ObservedDomain]:
        """The current domains, in the mapping of last time if it holds the very same ones."""
        current = self._current
        entries = self._entries
        if len(current) != len(entries) or any(
            current.get(uuid) is not entry.domain for uuid, entry in entries.items()
        ):
            self._current = {uuid: entry.domain for uuid, entry in entries.items()}
        return self._current

    def _listing(self, raw: libvirt.virConnect) -> list[tuple[Any, Signature]]:
        """Every domain with what tells a change of it, by the best means that this driver has."""
        while self._stats_flags is not None:
            try:
                stats = raw.getAllDomainStats(_STATS, self._stats_flags)
            except libvirt.libvirtError as error:
                self._stats_flags = self._without(error)
            else:
                # The test driver's bulk call knows no memory. In our own process, asking costs nothing.
                asked = _ask_all if self._in_process else _ask_nothing
                return [(domain, _telling(record) | asked(domain)) for domain, record in stats]
        return [(domain, _ask_state(domain)) for domain in raw.listAllDomains(0)]

    def _without(self, error: libvirt.libvirtError) -> int | None:
        """The next simpler flags for the bulk call; None once this driver has shown to have none."""
        if error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG and self._stats_flags:
            return _STATS_FLAGS[1]
        raise_unless_unsupported(error)
        return None

    def _reread(self, raw: Any, signature: Signature, flags: tuple[bool, bool], due: float) -> _Entry | None:
        """Read one domain's XML; None if it went away meanwhile."""
        try:
            state, reason = _state(raw, signature)
            persistent_xml = raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            live_xml = raw.XMLDesc(0) if state.active else ""
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        uuid = str(raw.UUIDString())
        before = self._entries.get(uuid)
        digests = (hash(persistent_xml), hash(live_xml))
        if before is not None and before.digests == digests:
            parsed = before.parsed
        else:
            parsed = (self._parse(raw, persistent_xml), self._parse(raw, live_xml) if live_xml else None)
        domain = replace(
            self._domain(parsed, signature, flags, (state, reason)),
            run=int(raw.ID()) if state.active and raw.ID() >= 0 else None,
        )
        if before is not None and before.domain == domain:
            domain = before.domain
        return _Entry(domain, signature, flags, digests, parsed, due)

    def _parse(self, raw: Any, xml: str) -> ParsedDomain:
        try:
            return parse_domain(xml, self._owner)
        except DomainXmlError:
            # Still a domain that holds its name and its room, though not one that we would touch.
            return ParsedDomain(bare_config(xml, str(raw.name()), str(raw.UUIDString())), None)

    def _domain(
        self,
        parsed: tuple[ParsedDomain, ParsedDomain | None],
        signature: Signature,
        flags: tuple[bool, bool],
        state: tuple[DomainState, str],
    ) -> ObservedDomain:
        autostart, transient = flags
        sizes = _sizes(signature)
        persistent, live = parsed
        config = with_sizes(replace(persistent.config, autostart=autostart), sizes)
        running = None
        if live is not None:
            running = with_sizes(replace(live.config, autostart=autostart), sizes)
            # Most running domains are what their next start would be: one object serves for both.
            running = config if running == config else running
        return ObservedDomain(
            host=self._host,
            config=config,
            live=running,
            state=state[0],
            state_reason=state[1],
            persistent=not transient,
            applied=persistent.applied,
            applied_live=live.applied if live is not None else None,
            foreign_owner=persistent.foreign_owner,
        )


def _uuids(raw: libvirt.virConnect, flags: int) -> frozenset[str]:
    return frozenset([str(domain.UUIDString()) for domain in raw.listAllDomains(flags)])


def _telling(stats: Mapping[str, Any]) -> Signature:
    """What of the bulk call's many figures tells that the configuration or state changed."""
    return {key: value for key, value in stats.items() if key in _TELLING or key.endswith(_TELLING_ENDS)}


def _ask_nothing(_domain: Any) -> Signature:
    return {}


def _ask_state(domain: Any) -> Signature:
    """State, maximum memory and cpus. A container's memory here is what it uses now: it always differs."""
    told = _ask_all(domain).get("info")
    return {"info": [told[0], told[1], told[3]]} if told is not None else {}


def _ask_all(domain: Any) -> Signature:
    """State, maximum memory, memory and cpus of one domain; nothing if it went away meanwhile."""
    try:
        return {"info": domain.info()[:4]}
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return {}


def _differs(entry: _Entry, signature: Signature) -> bool:
    """True if something is told differently. What is not told this time (a busy domain) is no change."""
    known = entry.signature
    return known != signature and any(known.get(key) != value for key, value in signature.items())


def _state(domain: Any, signature: Signature) -> tuple[DomainState, str]:
    if "state.state" in signature:
        number, reason = signature["state.state"], signature.get("state.reason", 0)
    else:
        number, reason = domain.state()
    state = state_of(int(number))
    return state, reason_in_words(state, int(reason))


def _sizes(signature: Signature) -> dict[str, int]:
    """Virtual sizes in bytes by target, as far as the bulk call told them."""
    sizes = {}
    for key, value in signature.items():
        if key.startswith("block.") and key.endswith(".capacity") and isinstance(value, int) and value:
            target = signature.get(key.removesuffix(".capacity") + ".name")
            sizes[str(target)] = value
    return sizes
