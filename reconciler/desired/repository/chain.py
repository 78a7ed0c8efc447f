"""Commits one on another, written by one git process, whatever their number and the size of the tree."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.git import run_git
from reconciler.errors import ReconcilerError

_AUTHOR = re.compile(r"\s*([^<>\n\0]*[^<>\s\0])\s*<([^<>\s\0]+)>\s*")
_OPTIONS = ("-c", "core.fsync=committed", "-c", "fastimport.unpackLimit=1")
"""What is acknowledged survives a power failure, which costs a group what it would cost one commit. And a
folder of 10,000 files is written whole once for a group, then as a small difference for each commit."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One commit that changes one file.

    Attributes:
        path: Relative to the repository's root.
        mode: As git writes it.
        text: The file's new text; None if it goes.
        message: The commit's message.
        author: ``Name <mail>``.
    """

    path: str
    mode: str
    text: str | None
    message: str
    author: str


def author_parts(author: str) -> tuple[str, str]:
    """Name and mail.

    Raises:
        ReconcilerError: It is not ``Name <mail>``.
    """
    found = _AUTHOR.fullmatch(author)
    if found is None:
        raise ReconcilerError(f"{author!r} is no author", hint="write: Your Name <you@example.com>")
    return found[1], found[2]


def write_chain(
    root: Path,
    ref: str,
    old: str | None,
    changes: Sequence[FileChange],
    committer: str | None,
    keep: Sequence[int] = (),
) -> list[str]:
    """Write the commits, the first on `old`, and let `ref` keep them; no branch moves.

    Args:
        root: The repository.
        ref: A ref of ours, which is overwritten.
        old: The commit before the first one; None if there is none yet.
        changes: One for each commit.
        committer: ``Name <mail>``; None for each commit's author.
        keep: File descriptors that stay open in the process.

    Returns:
        The commits' ids.

    Raises:
        GitError: git failed; nothing refers to what it may have written.
        ReconcilerError: An author is none.
    """
    stream = b"".join(_stream(ref, old, changes, committer))
    told = run_git(root, *_OPTIONS, "fast-import", "--quiet", "--force", "--done", stdin=stream, keep=keep)
    return told.decode().split()


def _stream(
    ref: str, old: str | None, changes: Sequence[FileChange], committer: str | None
) -> Iterator[bytes]:
    """Source: git-fast-import(1)."""
    now = int(time.time())
    if old is None:
        yield b"reset %s\n\n" % ref.encode()
    for mark, change in enumerate(changes, start=1):
        author = _person(change.author)
        yield b"commit %s\nmark :%d\n" % (ref.encode(), mark)
        yield b"author %s %d +0000\n" % (author, now)
        yield b"committer %s %d +0000\n" % (_person(committer) if committer else author, now)
        yield _data(change.message.replace("\0", "").strip() + "\n")
        if mark == 1 and old is not None:
            yield b"from %s\n" % old.encode()
        path = _quoted(change.path)
        if change.text is None:
            yield b"D %s\n" % path
        else:
            yield b"M %s inline %s\n" % (change.mode.encode(), path) + _data(change.text)
        yield b"get-mark :%d\n" % mark
    yield b"done\n"


def _person(author: str) -> bytes:
    name, mail = author_parts(author)
    return f"{name} <{mail}>".encode(errors="replace")


def _data(text: str) -> bytes:
    content = text.encode(errors="replace")
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> bytes:
    raw = path.encode(errors="surrogateescape")
    for character, escape in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n")):
        raw = raw.replace(character, escape)
    return b'"' + raw + b'"'
