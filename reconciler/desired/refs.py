"""Where a git ref stands, read from git's own files: a process for each look would be too dear.

Only branches, and refs of ours, in the layout with one file a ref and ``packed-refs``. Of anything else
nothing is said here, and git is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_OURS = ("refs/heads/", "refs/reconciler/")


@dataclass(frozen=True, slots=True)
class GitFolders:
    """Where a repository keeps its refs.

    Attributes:
        own: Of this work tree: ``HEAD``.
        common: Of all its work trees: branches.
    """

    own: Path
    common: Path


class Refs:
    """The refs of one repository. Safe from any thread."""

    def __init__(self, folders: GitFolders) -> None:
        self.folders = folders
        self._packed: tuple[object, Mapping[str, str]] = (None, {})

    def head(self) -> str | None:
        """Full name of the branch that is checked out; None if there is none, or nobody knows."""
        text = _text(self.folders.own / "HEAD")
        return text.removeprefix("ref: ") if text.startswith("ref: refs/heads/") else None

    def commit(self, name: str) -> str | None:
        """The commit of a branch by its full name, or of ``HEAD``; None if git has to be asked."""
        full = self.head() if name == "HEAD" else name
        if full is None or not full.startswith(_OURS) or ".." in full:
            return None
        loose = _text(self.folders.common / full)
        if _ID.fullmatch(loose):
            return loose
        return None if loose else self._from_packed(full)

    def _from_packed(self, name: str) -> str | None:
        path = self.folders.common / "packed-refs"
        try:
            about = path.stat()
        except OSError:
            return None
        version = (about.st_mtime_ns, about.st_size, about.st_ino)
        known, refs = self._packed
        if known != version:
            lines = (line.partition(" ") for line in _text(path).splitlines() if line[:1] not in "#^")
            refs = {ref: commit for commit, _, ref in lines}
            self._packed = (version, refs)
        return refs.get(name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
