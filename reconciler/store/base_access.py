"""What the store offers to those who must prove who they are: tokens, sessions, and the audit record.

No secret is ever stored: a token's and a session's are 256 random bits, of which only the SHA-256 digest is
kept.  A slow hash (scrypt, argon2) makes guessing of *chosen* passwords slow; of 2^256 equally likely secrets
nobody guesses one, however fast the digest, and a request costs microseconds instead of a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.model.access import Grant

USE_NOTED_EVERY = 60.0
"""Seconds between two notes of the same token's use."""

SESSIONS_OF_A_TOKEN = 100
"""So many sessions may have begun with one token; the oldest end."""

AUDIT_KEPT = 100_000
"""So many audit records are kept; the oldest go."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, without its secret.

    Attributes:
        id: Public part of the token: lower-case letters and digits.
        name: Whose it is; the name of the caller. No two valid tokens have the same.
        digest: SHA-256 of the secret, hexadecimal.
        grants: What it allows.
        mail: For the author of commits, or empty.
        made: When it was made.
        made_by: Name of who made it.
        parent: Id of the token with which it was made, or empty.
        expires: When it ends; None for never.
        revoked: When it was revoked; None while it is not.
    """

    id: str
    name: str
    digest: str
    grants: tuple[Grant, ...]
    mail: str
    made: float
    made_by: str
    parent: str = ""
    expires: float | None = None
    revoked: float | None = None

    def valid(self, now: float) -> bool:
        """True if it is neither revoked nor over."""
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class TokenUse:
    """When a token was used last, to the minute, and from which address."""

    token: str
    time: float
    source: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A browser's session.

    Attributes:
        digest: SHA-256 of the secret in the cookie, hexadecimal.
        token: Id of the token with which it began, and with which it ends.
        begun: When.
        expires: When it ends.
    """

    digest: str
    token: str
    begun: float
    expires: float


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Something that somebody did, or tried to do.

    Attributes:
        time: When it was answered.
        who: Name of the caller; empty if nobody knows.
        via: How they proved it.
        token: Id of their token, or empty.
        source: Address that it came from, of the network, not of a header.
        method: HTTP method.
        path: Path and query.
        action: ``operationId``, or empty.
        object: ``Kind/name``, or empty.
        status: HTTP status of the answer.
        request: Request id.
        revision: Revision of the desired state that the change made, or empty.
        detail: Why it was refused, or empty.
        id: Greater than that of every earlier one; given by the store.
    """

    time: float
    who: str
    via: str
    token: str
    source: str
    method: str
    path: str
    action: str
    object: str
    status: int
    request: str
    revision: str = ""
    detail: str = ""
    id: int = 0


class AccessStore(Protocol):
    """Tokens, sessions and the audit record."""

    def tokens(self) -> Mapping[str, TokenRecord]:
        """Every token by id, revoked and expired ones too: the same object while unchanged."""

    def add_token(self, token: TokenRecord, now: float) -> bool:
        """Add a token, durably. False: its id, or a valid token of its name, is there already."""

    def revoke_token(self, token: str, now: float) -> bool:
        """End a token and its sessions at once, durably. False: there is none, or it is revoked."""

    def note_token_use(self, token: str, now: float, source: str) -> None:
        """Remember that it was used; cheap, and lost with a power failure."""

    def token_uses(self) -> Mapping[str, TokenUse]:
        """The last use of each token that was ever used, by id."""

    def add_session(self, session: SessionRecord) -> None:
        """Begin a session, durably; those that are over are forgotten."""

    def session(self, digest: str) -> SessionRecord | None:
        """The session of this digest, even if it is over."""

    def end_session(self, digest: str) -> None:
        """End a session; one that is not there is ignored."""

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        """Append records, in one transaction; the oldest go when there are too many. None is ever changed."""

    def audit(
        self,
        *,
        before: int | None = None,
        who: str | None = None,
        object_: str | None = None,
        limit: int = 100,
    ) -> tuple[AuditRecord, ...]:
        """The newest records, newest first.

        Args:
            before: Only those with a smaller id.
            who: Only of this caller.
            object_: Only about this object (``Kind/name``).
            limit: At most so many.
        """
