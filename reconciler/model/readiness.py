"""Whether a running machine's guest is ready: what is asked, what was found, what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class GuestCheck:
    """What makes one running machine ready.

    Attributes:
        vm: The machine.
        uid: Its uid.
        host: Where it runs.
        run: Tells this run of it from the next: libvirt's id of the running domain.
        agent: The QEMU guest agent has to answer.
        address: An address has to be known.
        tcp_port: Something has to listen on it, seen from the host; None: not asked.
        timeout: Seconds from its start after which waiting is worth a warning.
    """

    vm: str
    uid: str
    host: str
    run: int
    agent: bool
    address: bool
    tcp_port: int | None
    timeout: int

    @property
    def asked(self) -> str:
        """What is asked, in one word: another wish makes what was found before worthless."""
        words = ["agent"] * self.agent + ["address"] * self.address
        return "+".join([*words, *([f"tcp:{self.tcp_port}"] if self.tcp_port else [])])


@dataclass(frozen=True, slots=True)
class GuestAnswer:
    """What looking at a guest gave.

    Attributes:
        check: What was asked.
        waits_for: What is still missing, in words; empty when it is ready.
    """

    check: GuestCheck
    waits_for: str


@dataclass(frozen=True, slots=True)
class GuestRecord:
    """What is remembered of a run of a machine.

    Attributes:
        uid: The machine's uid.
        vm: Its name.
        run: As in the check.
        asked: As in the check.
        since: When this run was seen first, epoch seconds.
        ready: When it was ready first, or None: it is not yet.
        waits_for: What was missing at the last look.
    """

    uid: str
    vm: str
    run: int
    asked: str
    since: float
    ready: float | None = None
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class ProvisionRecord:
    """What became of the playbook that is run once for a machine.

    Attributes:
        uid: The machine's uid.
        playbook: Digest of the playbook's path; another playbook is run anew.
        vm: The machine's name.
        state: ``running``, ``done`` or ``failed``.
        reason: CamelCase word.
        message: In words; of a failure the task that failed.
        at: When it came to that, epoch seconds.
    """

    uid: str
    playbook: str
    vm: str
    state: str
    reason: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class Guests:
    """What is known of the guests.

    Attributes:
        records: Whether they are ready, by machine.
        provisions: What became of their playbooks, by uid and the digest of the playbook's path.
        waiting: Machines that are looked at until they are ready.
    """

    records: Mapping[str, GuestRecord] = field(default_factory=dict)
    provisions: Mapping[tuple[str, str], ProvisionRecord] = field(default_factory=dict)
    waiting: Mapping[str, GuestCheck] = field(default_factory=dict)
