"""The error tree. Whatever a person can cause or mend ends in one of these, never in a traceback.

    ReconcilerError                   exit 1   something failed; the message says what, where and what next
    ├── UsageError                    exit 64  the command line does not fit (EX_USAGE of sysexits.h)
    ├── DesiredStateError             exit 3   the YAML is refused whole; `.problems` lists every mistake
    │   └── ConfigError               exit 3   likewise the configuration file
    ├── InventoryError                exit 3   Ansible cannot read the inventory, or a host variable is wrong
    ├── LimitError                    exit 4   a safety limit stopped the plan before anything was touched
    ├── BusyError                     exit 5   another process acts on this store
    ├── StalePlanError                exit 6   a saved plan no longer fits the world
    ├── HostError                     exit 1   one host: `.host` names it, `.reason` is a CamelCase word
    ├── RenderError                   exit 3   a template from the state repository was refused
    ├── PushError                     exit 1   ansible-runner itself could not run
    ├── SecretError                   exit 1   a secret cannot be read; the message says where it should be
    ├── AllocatorError                exit 1   an algorithm or the external allocator program misbehaved
    │   └── AllocatorConfigError      exit 3   the configuration names an algorithm or weigher that is none
    ├── StoreError                    exit 1   the store cannot be opened or is of another version
    ├── RefusedError                  exit 1   a request that cannot be granted as it stands
    │   ├── UnauthenticatedError      exit 1   nobody knows who asks
    │   ├── ForbiddenError            exit 1   who asks may not
    │   ├── NotFoundError             exit 1   there is no such object
    │   ├── ConflictError             exit 1   what is there does not allow it: `.file`, `.line` where known
    │   ├── PreconditionError         exit 6   it is not any more what the caller had seen
    │   └── UnavailableError          exit 1   not now: `.retry_after` seconds
    │       ├── ThrottledError        exit 1   too many wrong credentials came from there
    │       └── NoneAvailableError    exit 1   a pool has no machine to lend now
    └── LabError                      exit 1   the throw-away lab

`hint` is what to do next, in the imperative.  With `plan --detailed-exitcode` every error exits 1,
because there 2 means "changes" and scripts know just 0, 1 and 2 from Terraform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ReconcilerError(Exception):
    """Base of all errors that are shown to people as a sentence.

    Args:
        message: What was wrong and where (file:line, host, vm), without a final hint.
        hint: What to do next; shown on a line of its own.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(ReconcilerError):
    """The command line does not fit."""

    exit_code = 64


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in the desired state.

    Attributes:
        file: Path relative to the root of the source.
        line: 1-based; 0 when the mistake is the file's as a whole.
        column: 1-based; 0 when unknown.
        path: Path to the field, for example ``spec.interfaces[0].model``; empty for the document.
        message: What is wrong, with a suggestion where there is one.
        object: ``Kind/name`` where known, else empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    object: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        field = f" {self.path}:" if self.path else ""
        return f"{where}:{field} {self.message}"


class DesiredStateError(ReconcilerError):
    """The desired state is refused as a whole, with every mistake in it.

    A mistake that is a file's or the source's as a whole, and the only one, is a plain sentence.
    """

    exit_code = 3
    subject: ClassVar[str] = "the desired state"

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        if count == 1 and not (self.problems[0].line or self.problems[0].path):
            super().__init__(str(self.problems[0]), hint=hint)
            return
        noun = "mistake" if count == 1 else "mistakes"
        listing = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{self.subject} has {count} {noun}:\n{listing}", hint=hint)


class ConfigError(DesiredStateError):
    """The configuration file is refused, with every mistake in it."""

    subject = "the configuration"


class InventoryError(ReconcilerError):
    """Ansible cannot read the inventory, or a host variable of ours is wrong."""

    exit_code = 3


class LimitError(ReconcilerError):
    """A safety limit stopped the plan; nothing was touched."""

    exit_code = 4


class BusyError(ReconcilerError):
    """Another process holds the store; the message says who."""

    exit_code = 5


class StalePlanError(ReconcilerError):
    """The world moved since the plan was saved; nothing was touched."""

    exit_code = 6


class HostError(ReconcilerError):
    """One host cannot be used.

    Args:
        host: Inventory name.
        reason: One CamelCase word for scripts and conditions, for example ``KeyRefused``.
        message: The reason in words.
        hint: The remedy.
    """

    def __init__(self, host: str, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"host {host}: {message}", hint=hint)
        self.host = host
        self.reason = reason


class RenderError(ReconcilerError):
    """A template from the state repository was refused, or rendered XML that must not leave."""

    exit_code = 3


class PushError(ReconcilerError):
    """ansible-runner could not run at all (a failed action is a result, not an error)."""


class SecretError(ReconcilerError):
    """A secret cannot be read. Says where it should be, never what was found there."""


class AllocatorError(ReconcilerError):
    """An allocation algorithm, or the external program that chooses hosts, misbehaved."""


class AllocatorConfigError(AllocatorError, ValueError):
    """The configuration names an algorithm or weigher that does not exist, or a factor that is no number."""

    exit_code = 3


class StoreError(ReconcilerError):
    """The store cannot be opened, or belongs to another version."""


class RefusedError(ReconcilerError):
    """A request that cannot be granted as it stands, and why. `.reason` is a CamelCase word for programs."""

    reason: ClassVar[str] = "Refused"


class UnauthenticatedError(RefusedError):
    """Nobody knows who asks. Never says which part of a credential was wrong."""

    reason = "Unauthenticated"


class ForbiddenError(RefusedError):
    """Who asks may not do this, or not to this object."""

    reason = "Forbidden"


class NotFoundError(RefusedError):
    """There is no such object."""

    reason = "NotFound"


class ConflictError(RefusedError):
    """What is there does not allow it.

    Args:
        message: What was wrong.
        hint: What to do next.
        file: Where what stands in the way is written, relative to the source; empty if it is nowhere.
        line: 1-based; 0 when unknown.
    """

    reason = "Conflict"

    def __init__(self, message: str, *, hint: str = "", file: str = "", line: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line


class PreconditionError(RefusedError):
    """An object is not any more (or not yet) what the caller had seen of it."""

    exit_code = 6
    reason = "PreconditionFailed"


class UnavailableError(RefusedError):
    """It cannot be had now, and can be later.

    Args:
        message: What was wrong.
        hint: What to do next.
        retry_after: Seconds after which to ask again.
    """

    reason = "Unavailable"

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ThrottledError(UnavailableError):
    """Too many wrong credentials came from there, or for that token."""

    reason = "TooManyFailures"


class NoneAvailableError(UnavailableError):
    """A pool has no machine to lend now; the message says how many are lent and being made."""

    reason = "NoneAvailable"


class LabError(ReconcilerError):
    """The throw-away lab could not be built or taken down."""
