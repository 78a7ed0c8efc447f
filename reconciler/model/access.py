"""Who asks, and what they may do: roles, grants and callers. How they prove it is the API's business."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import TypeAdapter

_WILD = frozenset("*?[")
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
_CRUD = " .,:;<>\"\\'"
"""What git takes away from both ends of a name; one of nothing else it refuses."""
_MAIL = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")


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

    def covers(self, other: Grant) -> bool:
        """True if whoever has this grant has all of the other one too; when in doubt, false."""
        return (
            self.role.includes(other.role)
            and (not self.kinds or (bool(other.kinds) and set(other.kinds) <= set(self.kinds)))
            and (not self.names or (bool(other.names) and all(map(self._has_names, other.names))))
            and self.labels.items() <= other.labels.items()
        )

    def _has_names(self, pattern: str) -> bool:
        """True if every name that fits the pattern is among our names, as far as one can tell."""
        plain = not _WILD & set(pattern)
        return pattern in self.names or (plain and any(fnmatchcase(pattern, own) for own in self.names))


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are.

    Attributes:
        name: For people, commits, events and the audit record.
        mail: For the author of commits; empty for one that is made up from the name.
        grants: What they may do.
        via: How they proved it: ``token``, ``basic``, ``session``, ``oidc``, ``certificate``, ``loopback``.
        token: Id of the token that proves it, or with which the session began; empty for others.
        expires: Epoch seconds after which the token or certificate is none any more; None for never.
    """

    name: str
    mail: str = ""
    grants: tuple[Grant, ...] = ()
    via: str = ""
    token: str = ""
    expires: float | None = None

    def may(self, role: Role, thing: Thing = NOTHING) -> bool:
        """True if some grant includes the role and reaches the thing."""
        return any(grant.role.includes(role) and grant.reaches(thing) for grant in self.grants)

    def may_somewhere(self, role: Role) -> bool:
        """True if some grant includes the role, whatever its scope: lists show what `may` lets through."""
        return any(grant.role.includes(role) for grant in self.grants)

    def covers(self, grants: tuple[Grant, ...]) -> bool:
        """True if each of these grants is within one of their own: they may pass them on."""
        return all(any(own.covers(grant) for own in self.grants) for grant in grants)

    @property
    def author(self) -> str:
        """``Name <mail>`` for a commit; nothing in a name can end it early, or begin another line."""
        name = _NOT_IN_A_NAME.sub("", self.name).strip(_CRUD) or "unknown"
        mail = self.mail if _MAIL.fullmatch(self.mail) else ""
        made_up = re.sub(r"[^A-Za-z0-9._+-]", ".", name) + "@reconciler.invalid"
        return f"{name} <{mail or made_up}>"


GRANTS_JSON: TypeAdapter[tuple[Grant, ...]] = TypeAdapter(tuple[Grant, ...])
"""Turns grants into JSON and back, and refuses what is none."""
