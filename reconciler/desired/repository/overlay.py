"""A tree with other contents in some files: what the desired state would be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.desired.tree import (
    NOTHING_EXCLUDED,
    Content,
    Excluded,
    Listing,
    Tree,
    is_manifest_file,
)
from reconciler.errors import DesiredStateError, Problem

Contents = Mapping[str, bytes | None]
"""Path to content; None for a file that goes."""


class Overlay:
    """A tree at one moment, with changes on top.

    Args:
        tree: What is there.
        version_of: The version that `tree` will give a file of this content, in such a revision.
        excluded: What is no manifest though it looks like one.
    """

    def __init__(
        self,
        tree: Tree,
        version_of: Callable[[bytes, str], Hashable] | None = None,
        excluded: Excluded = NOTHING_EXCLUDED,
    ) -> None:
        self._tree = tree
        self._version_of = version_of or _digest
        self._excluded = excluded
        self._base: Listing | None = None
        self._changes: dict[str, bytes | None] = {}
        self._listing: Listing | None = None
        self.root: Path = tree.root

    def follow(self) -> Listing:
        """Forget the changes, and take the tree as it is now.

        Raises:
            DesiredStateError: There is no such folder, repository or ref.
        """
        base = self._tree.listing()
        if base is not self._base or self._changes:
            self._changes = {}
            self._base = self._listing = base
        return base

    def put(self, changes: Contents) -> None:
        """Let files have these contents; what was put before stays, unless it is named."""
        self._changes.update(changes)
        self._listing = None

    def clear(self) -> None:
        """Forget the changes."""
        self._changes = {}
        self._listing = self._base

    def text(self, path: str) -> str | None:
        """A file's text, manifest or not; None if there is none.

        Raises:
            DesiredStateError: It cannot be read.
        """
        if self._base is None:
            self.follow()
        if self.version(path) is None:
            return None
        content = next(iter(self.read([path])))[1]
        if isinstance(content, Problem):
            raise DesiredStateError([content])
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DesiredStateError([Problem(path, 0, 0, "", "the file is not UTF-8")]) from error

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Tree`."""
        return self._tree.warnings

    def listing(self) -> Listing:
        """See `Tree`; it moves only with `follow`."""
        if self._base is None:
            return self.follow()
        if self._listing is None:
            self._listing = self._changed(self._base)
        return self._listing

    def _changed(self, base: Listing) -> Listing:
        files = dict(base.files)
        new = False
        whole = hashlib.sha256()
        for path, content in sorted(self._changes.items()):
            whole.update(f"{path}\0".encode(errors="surrogateescape") + _digest(content or b"").encode())
            if content is None:
                files.pop(path, None)
            elif path in files or (is_manifest_file(path) and path not in self._excluded):
                new |= path not in files
                files[path] = self._version_of(content, base.revision or "")
        revision = f"{base.revision}+{whole.hexdigest()[:12]}" if base.revision else None
        return replace(base, revision=revision, files=dict(sorted(files.items())) if new else files)

    def version(self, path: str) -> Hashable | None:
        """See `Tree`."""
        if path in self._changes:
            content = self._changes[path]
            return None if content is None else _digest(content)
        return self._tree.version(path)

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, Content]]:
        """See `Tree`."""
        found = dict(self._tree.read([path for path in paths if self._changes.get(path) is None]))
        for path in paths:
            yield path, self._changes.get(path) or found.get(path, b"")

    def fetch(self) -> bool:
        """See `Tree`: what is looked at does not move by itself."""
        return False

    def place(self, revision: str, target: Path) -> Path:
        """See `Tree`; without the changes, which are no files yet."""
        return self._tree.place(revision, target)


def _digest(content: bytes, _revision: str = "") -> str:
    return hashlib.sha256(content).hexdigest()
