"""libvirt's numbers for a domain's state and its reason, in the words of ``virsh domstate --reason``."""

from __future__ import annotations

from reconciler.model.domain import DomainState

_STATES = (
    DomainState.RUNNING,  # VIR_DOMAIN_NOSTATE: the hypervisor does not say
    DomainState.RUNNING,
    DomainState.RUNNING,  # VIR_DOMAIN_BLOCKED: running, and waiting for a resource
    DomainState.PAUSED,
    DomainState.SHUTTING_DOWN,
    DomainState.SHUT_OFF,
    DomainState.CRASHED,
    DomainState.SUSPENDED,
)

_UNKNOWN = "unknown"

# In the order of libvirt's enumerations.
_REASONS = {
    DomainState.RUNNING: (
        _UNKNOWN,
        "booted",
        "migrated",
        "restored",
        "from snapshot",
        "unpaused",
        "migration canceled",
        "save canceled",
        "event wakeup",
        "crashed",
        "post-copy",
        "post-copy failed",
    ),
    DomainState.PAUSED: (
        _UNKNOWN,
        "user",
        "migrating",
        "saving",
        "dumping",
        "I/O error",
        "watchdog",
        "from snapshot",
        "shutting down",
        "creating snapshot",
        "crashed",
        "starting up",
        "post-copy",
        "post-copy failed",
        "API error",
    ),
    DomainState.SHUTTING_DOWN: (_UNKNOWN, "user"),
    DomainState.SHUT_OFF: (
        _UNKNOWN,
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from snapshot",
        "daemon",
    ),
    DomainState.CRASHED: (_UNKNOWN, "panicked"),
    DomainState.SUSPENDED: (_UNKNOWN,),
}


def state_of(number: int) -> DomainState:
    """The state; a number that libvirt will invent some day counts as running, which is the safe side."""
    return _STATES[number] if 0 <= number < len(_STATES) else DomainState.RUNNING


def reason_in_words(state: DomainState, number: int) -> str:
    """The reason; ``unknown`` where libvirt says so or the number is new to us."""
    words = _REASONS[state]
    return words[number] if 0 <= number < len(words) else _UNKNOWN
