"""Which branch a source follows: only that can be changed."""

from __future__ import annotations

from pathlib import Path

from reconciler.desired.git import GitError, run_git, without_password
from reconciler.errors import ReconcilerError

_REMOTE_TIMEOUT = 120.0


def local_branch(root: Path, ref: str) -> str:
    """The full name of the branch.

    Args:
        root: The repository, or a folder in it.
        ref: What the source follows.

    Raises:
        ReconcilerError: It is no branch.
    """
    if ref == "HEAD":
        try:
            return run_git(root, "symbolic-ref", "HEAD").decode().strip()
        except GitError as error:
            raise ReconcilerError(
                f"{root} has no branch checked out", hint="set source.ref to a branch"
            ) from error
    for name in (f"refs/heads/{ref}", ref):
        if name.startswith("refs/heads/") and _resolves(root, name):
            return name
    raise ReconcilerError(
        f"the source follows {ref!r}, which is no branch: a tag or a commit cannot be changed",
        hint="set source.ref to a branch",
    )


def remote_branch(root: Path, remote: str, ref: str) -> str:
    """The full name of the branch at a remote.

    Raises:
        ReconcilerError: It is no branch there.
        GitError: The remote does not answer.
    """
    told = run_git(root, "ls-remote", "--symref", "--end-of-options", remote, timeout=_REMOTE_TIMEOUT)
    lines = [line.split("\t") for line in told.decode().splitlines()]
    names = {name for _, name in lines}
    if ref == "HEAD":
        heads = [value.removeprefix("ref: ") for value, name in lines if name == "HEAD" and " " in value]
        names &= set(heads)
        ref = heads[0] if heads else ref
    for name in (f"refs/heads/{ref}", ref):
        if name.startswith("refs/heads/") and (name in names or name == ref):
            return name
    raise ReconcilerError(
        f"the source follows {ref!r}, which is no branch of {without_password(remote)}",
        hint="set source.ref to a branch",
    )


def _resolves(root: Path, name: str) -> bool:
    try:
        run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
    except GitError:
        return False
    return True
