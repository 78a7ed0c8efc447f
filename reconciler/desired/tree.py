"""Where files come from: a folder of the controller here, a commit of a git repository in ``git.py``."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from reconciler.errors import DesiredStateError, Problem

_CLOCK_TICK = 20_000_000
"""Nanoseconds; the kernel stamps files with a clock that moves in steps of up to 10 ms."""

Content = bytes | Problem
"""A file's bytes, or why they cannot be had."""

_VARIABLES = ("group_vars", "host_vars")

OWN_FILES = frozenset(["reconciler.yaml", "reconciler.yml"])
"""Our configuration may lie at the root of the source; it is no manifest."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The YAML files of a source at one moment.

    Attributes:
        revision: The commit id; None for a folder, whose revision its content makes.
        files: Path to version: equal versions mean equal content.
        problems: Files that are refused unread.
    """

    revision: str | None
    files: Mapping[str, Hashable]
    problems: tuple[Problem, ...] = field(default=())


class Tree(Protocol):
    """Files by path relative to `root`, with ``/`` between the parts."""

    root: Path
    """Where relative paths of images start."""

    def listing(self) -> Listing:
        """The YAML files that count, hidden ones and our own configuration left out.

        Raises:
            DesiredStateError: There is no such folder, repository or ref.
        """

    def version(self, path: str) -> Hashable | None:
        """Version of any file of the tree; None when there is none of this path."""

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, Content]]:
        """The content of files, in the order asked."""

    def fetch(self) -> bool:
        """Follow the remote, if there is one; True when the ref moved."""

    def place(self, revision: str, target: Path) -> Path:
        """See `Source.place`."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What went wrong with the last fetch, in words."""


def is_manifest_file(path: str) -> bool:
    """True for the YAML files that count."""
    return path.endswith((".yaml", ".yml")) and "/." not in f"/{path}" and path not in OWN_FILES


class Excluded:
    """Inventories between the manifests, with the variables that Ansible looks for beside them.

    Args:
        root: Root of the source.
        paths: Files and folders; a relative one starts at `root`.
    """

    def __init__(self, root: Path, paths: Sequence[Path] = ()) -> None:
        top = os.path.realpath(root)
        self._names: set[str] = set()
        for path in paths:
            full = root / path
            found = [full, Path(os.path.realpath(full))]
            if not full.is_dir():
                found += [each.parent / name for each in tuple(found) for name in _VARIABLES]
            for each in found:
                real = f"{os.path.realpath(each.parent)}{os.sep}{each.name}"
                if real.startswith(f"{top}{os.sep}"):
                    self._names.add(os.path.relpath(real, top).replace(os.sep, "/"))

    def __contains__(self, path: str) -> bool:
        """True for a file that `paths` name, or that lies below."""
        return any(path == name or path.startswith(f"{name}/") for name in self._names)


NOTHING_EXCLUDED: Final = Excluded(Path())


def refused(file: str | Path, message: str, hint: str = "") -> DesiredStateError:
    """An error about a file or a source as a whole."""
    return DesiredStateError([Problem(str(file), 0, 0, "", message)], hint=hint)


def too_large(path: str, size: int, limit: int) -> Problem:
    """A file beyond ``source.maxFileSize``."""
    message = f"the file has {size} bytes, more than the {limit} of source.maxFileSize; split it"
    return Problem(path, 0, 0, "", message)


class FolderTree:
    """The files below a folder, as they are now.

    Symbolic links are followed inside the root and refused when they lead out of it; a file that is
    reached twice is read once.

    Args:
        root: The folder.
        folder: Only what lies below this folder of it; empty for all.
        limit: Bytes that a file may have.
        excluded: What is no manifest though it looks like one.
    """

    def __init__(self, root: Path, folder: str, limit: int, excluded: Excluded = NOTHING_EXCLUDED) -> None:
        self.root = root
        self._start = inside(folder) if folder else ""
        self._limit = limit
        self._excluded = excluded

    @property
    def warnings(self) -> tuple[str, ...]:
        """Always empty."""
        return ()

    def fetch(self) -> bool:
        """A folder follows nothing."""
        return False

    def place(self, revision: str, target: Path) -> Path:  # noqa: ARG002 - a folder has no revisions
        """The folder itself, as it is now."""
        return self.root

    def listing(self) -> Listing:
        """See `Tree`."""
        start = self.root / self._start
        if not start.is_dir():
            word = "is not a folder" if start.exists() else "does not exist"
            raise refused(start, f"the source {word}", hint="set source.path, or use --source")
        walk = _Walk(self.root, self._excluded)
        walk.folder(start, self._start)
        walk.links()
        return Listing(None, dict(sorted(walk.files.items())), tuple(walk.problems))

    def version(self, path: str) -> Hashable | None:
        """See `Tree`."""
        full = self.root / path
        try:
            if not full.resolve().is_relative_to(self.root.resolve()):
                return None
            return file_version(full.stat(), time.time_ns()) if full.is_file() else None
        except OSError:
            return None

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, Content]]:
        """See `Tree`."""
        for path in paths:
            yield path, self._content(path)

    def _content(self, path: str) -> Content:
        try:
            with (self.root / path).open("rb") as file:
                content = file.read(self._limit + 1)
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            return Problem(path, 0, 0, "", f"cannot be read: {error.strerror}")
        return content if len(content) <= self._limit else too_large(path, size, self._limit)


def inside(path: str) -> str:
    """`path` in normal form, known to stay inside the source.

    Raises:
        DesiredStateError: It is absolute or leads out.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise refused(
            path, "this path leads out of the source", hint="source.folder is relative to source.path"
        )
    return str(parts) if parts.parts else ""


def file_version(about: os.stat_result, now: int) -> Hashable:
    """What changes with the content.

    A file written just now may be written again in the same tick of the kernel's clock, with the same
    size: its version holds for one look only.
    """
    version = (about.st_mtime_ns, about.st_size, about.st_ino)
    return version if now - about.st_mtime_ns > _CLOCK_TICK else (*version, now)


class _Walk:
    """One walk over a folder: real files first, so that a link to one of them adds nothing."""

    def __init__(self, root: Path, excluded: Excluded) -> None:
        self._root = os.path.realpath(root)
        self._excluded = excluded
        self._now = time.time_ns()
        self._seen_folders: set[str] = set()
        self._seen_files: set[str] = set()
        self._links: list[tuple[str, str]] = []
        self.files: dict[str, Hashable] = {}
        self.problems: list[Problem] = []

    def folder(self, start: Path | str, name: str) -> None:
        """Take the files below `start`, which is called `name` in messages."""
        real = os.path.realpath(start)
        if real in self._seen_folders:
            return
        self._seen_folders.add(real)
        try:
            with os.scandir(start) as entries:
                found = list(entries)
        except OSError as error:
            self.problems.append(Problem(name or ".", 0, 0, "", f"cannot be read: {error.strerror}"))
            return
        for entry in found:
            if not entry.name.startswith(".") and not self._is_excluded(f"{real}/{entry.name}"):
                self._entry(entry, f"{name}/{entry.name}" if name else entry.name, real)

    def _entry(self, entry: os.DirEntry[str], name: str, parent: str) -> None:
        if entry.is_symlink():
            self._links.append((entry.path, name))
        elif entry.is_dir(follow_symlinks=False):
            self.folder(entry.path, name)
        elif is_manifest_file(name):
            self._seen_files.add(f"{parent}/{entry.name}")
            self._file(entry, name)

    def links(self) -> None:
        """Follow the links that were met, and those met on the way."""
        while self._links:
            path, name = self._links.pop()
            real = os.path.realpath(path)
            if self._is_excluded(real):
                continue
            if Path(real).is_dir():
                if self._stays_inside(real, name):
                    self.folder(path, name)
            elif is_manifest_file(name) and real not in self._seen_files and self._stays_inside(real, name):
                self._seen_files.add(real)
                self._file(Path(real), name)

    def _is_excluded(self, real: str) -> bool:
        return real.removeprefix(self._root + os.sep) in self._excluded

    def _file(self, file: os.DirEntry[str] | Path, name: str) -> None:
        try:
            about = file.stat()
        except OSError as error:
            self.problems.append(Problem(name, 0, 0, "", f"cannot be read: {error.strerror}"))
            return
        if not stat.S_ISREG(about.st_mode):
            self.problems.append(Problem(name, 0, 0, "", "this is not a regular file"))
            return
        self.files[name] = file_version(about, self._now)

    def _stays_inside(self, real: str, name: str) -> bool:
        if real.startswith(self._root + os.sep) or real == self._root:
            return True
        message = "the symbolic link leads out of the source, which is refused"
        self.problems.append(Problem(name, 0, 0, "", message))
        return False
