"""What the commits of a git source tell: whether one was made, and whether another has it."""

from __future__ import annotations

import functools
from pathlib import Path

from reconciler.desired.git import GitError, run_git
from reconciler.model.config import SourceConfig

_SINCE = "--since=3.days"


class History:
    """Commits of a source. A folder has none: of it nothing is known.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
    """

    def __init__(self, config: SourceConfig, base: Path) -> None:
        self._root = base / config.path if config.git else None
        self._ancestry = functools.lru_cache(maxsize=1024)(self._is_ancestor)

    def committed(self, line: str) -> str | None:
        """The newest commit of the last days whose message has this line; None if there is none."""
        if self._root is None:
            return None
        asked = ("log", "--all", _SINCE, "-1", "--format=%H", "--fixed-strings", f"--grep={line}")
        try:
            return run_git(self._root, *asked).decode().strip() or None
        except GitError:
            return None

    def contains(self, revision: str, other: str) -> bool:
        """True if the revision has everything of the other one."""
        return revision == other or (self._root is not None and self._ancestry(self._root, other, revision))

    @staticmethod
    def _is_ancestor(root: Path, other: str, revision: str) -> bool:
        try:
            run_git(root, "merge-base", "--is-ancestor", "--end-of-options", other, revision)
        except GitError:
            return False
        return True
