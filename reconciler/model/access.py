"""Who asks, and what they may do: roles, grants and callers. How they prove it is the API's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase


class Role(StrEnum):
    """What somebody may do, each including the ones before it.

    ``VIEWER`` reads; ``OPERATOR`` changes desired state, acts on machines, and takes leases; ``ADMIN`` also
    changes hosts, makes tokens, and ends other people's leases.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """True if whoever has this role has the other one too."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Thing:
    """What a request is about.

    Attributes:
        kind: Manifest kind, or ``Host``, ``Event``, ``Lease``; empty for what is no object (a plan).
        name: Its name; empty for a whole collection.
        labels: Its labels.
    """

    kind: str = ""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


NOTHING = Thing()
"""A request that is about no object in particular."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, perhaps only for some things.

    Attributes:
        role: What may be done.
        kinds: Only to these kinds; empty for all.
        names: Only to names that match one of these shell patterns (fnmatch(3)); empty for all.
        labels: Only to things with all of these labels; empty for all.
    """

    role: Role
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def scoped(self) -> bool:
        """It does not reach everything."""
        return bool(self.kinds or self.names or self.labels)

    def reaches(self, thing: Thing) -> bool:
        """True if the thing is within its scope. A collection is outside of any scope of names or labels."""
        if self.kinds and thing.kind not in self.kinds:
            return False
        if self.names and not any(fnmatchcase(thing.name, pattern) for pattern in self.names):
            return False
        return all(thing.labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are.

    Attributes:
        name: For people, commits, events and the audit record.
        mail: For the author of commits; empty for one that is made up from the name.
        grants: What they may do.
        via: How they proved it: ``token``, ``basic``, ``session``, ``oidc``, ``certificate``, ``loopback``.
    """

    name: str
    mail: str = ""
    grants: tuple[Grant, ...] = ()
    via: str = ""

    def may(self, role: Role, thing: Thing = NOTHING) -> bool:
        """True if some grant includes the role and reaches the thing."""
        return any(grant.role.includes(role) and grant.reaches(thing) for grant in self.grants)

    def may_somewhere(self, role: Role) -> bool:
        """True if some grant includes the role, whatever its scope: lists show what `may` lets through."""
        return any(grant.role.includes(role) for grant in self.grants)

    @property
    def author(self) -> str:
        """``Name <mail>`` for a commit."""
        name = "".join(c for c in self.name if c not in "<>\n\r\0").strip() or "unknown"
        return f"{name} <{self.mail or name.replace(' ', '.') + '@reconciler.invalid'}>"
