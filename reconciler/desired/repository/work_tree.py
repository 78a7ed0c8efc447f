"""The files of people who have the branch checked out: they follow, and what is not committed stays.

git's own index lock is held from the first look to the end, so that nobody's commit can come in between and
take our files for theirs.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reconciler.desired.git import GitError, run_git
from reconciler.desired.repository.journal import Journal
from reconciler.errors import UnavailableError

_PATIENCE = 10.0
_MEND_AFTER = 0.3
_NAMED = re.compile(r"(?:Entry|file|directory) '([^']+)'")


class UncommittedError(Exception):
    """Files have changes that are not committed; nothing was touched.

    Attributes:
        files: Paths relative to the repository's root.
    """

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(", ".join(files))
        self.files = tuple(files)


class WorkTrees:
    """Where branches of a repository are checked out.

    Args:
        root: The repository, or a folder in it.
        common: Its git folder, which all work trees share.
    """

    def __init__(self, root: Path, common: Path) -> None:
        self._root = root
        self._common = common
        self._known: tuple[object, dict[str, Path]] | None = None

    def of(self, branch: str) -> Path | None:
        """The work tree in which the branch is checked out."""
        heads = [self._common / "HEAD", *sorted(self._common.glob("worktrees/*/HEAD"))]
        now = tuple((path, _content(path)) for path in heads)
        if self._known is None or self._known[0] != now:
            self._known = (now, dict(self._list()))
        return self._known[1].get(branch)

    def _list(self) -> Iterator[tuple[str, Path]]:
        told = run_git(self._root, "worktree", "list", "--porcelain")
        tree: Path | None = None
        for line in told.decode(errors="surrogateescape").splitlines():
            word, _, value = line.partition(" ")
            if word == "worktree":
                tree = Path(value)
            elif word == "bare":
                tree = None
            elif word == "branch" and tree is not None:
                yield value, tree


class WorkTree:
    """The files and the index of one work tree.

    Args:
        tree: Its folder.
        journal: Where it is noted what is being done.
        mend: Called when somebody holds the index for long: it may be one who was killed.
    """

    def __init__(self, tree: Path, journal: Journal, mend: Callable[[], None]) -> None:
        told = run_git(tree, "rev-parse", "--absolute-git-dir")
        folder = Path(told.decode(errors="surrogateescape").strip("\n"))
        self.folder = tree
        self._journal = journal
        self._mend = mend
        self._index = folder / "index"
        self._lock = folder / "index.lock"
        self._spare = folder / f"reconciler-index-{journal.token}"

    def move(self, old: str, new: str, paths: Sequence[str], commit: Callable[[], None]) -> None:
        """Bring the files from one commit to another, and `commit` while nobody else can.

        Args:
            old: What the branch is at.
            new: What it will be at.
            paths: Files that differ between the two.
            commit: Moves the branch; if it raises, the files are brought back.

        Raises:
            UncommittedError: Somebody's changes are in the way.
            UnavailableError: Somebody holds the index for too long.
            GitError: git failed.
        """
        self._take_lock()
        try:
            self._journal.note({"tree": str(self.folder), "paths": list(paths)})
            if self._index.exists():
                shutil.copy2(self._index, self._spare)
            self._checkout(old, new, paths)
            try:
                commit()
            except BaseException:
                self._git("read-tree", "-m", "-u", new, old)
                raise
            if self._spare.exists():
                self._spare.replace(self._index)
        finally:
            self._spare.unlink(missing_ok=True)
            self._lock.unlink(missing_ok=True)
            self._journal.done()

    def mend(self, token: str, paths: Sequence[str]) -> None:
        """Let files be what the branch says that a killed writer left in between. What people changed stays.

        Args:
            token: Of that writer.
            paths: Files that it was about to change.
        """
        if _content(self._lock).decode(errors="replace") != token:
            return  # it had finished, or not begun
        try:
            if self._index.exists():
                shutil.copy2(self._index, self._spare)
            self._git("reset", "--quiet", "--", *paths)
            for path in self._dirty(paths):
                # What we had written, or were about to write, is kept in git: whatever is not is a person's.
                if self._is_in_git(path):
                    self._restore(path)
            if self._spare.exists():
                self._spare.replace(self._index)
        finally:
            self._spare.unlink(missing_ok=True)
            self._spare.with_name(f"reconciler-index-{token}").unlink(missing_ok=True)
            self._lock.unlink(missing_ok=True)

    def _is_in_git(self, path: str) -> bool:
        full = self.folder / path
        if not full.is_file():
            return True
        blob = self._git("hash-object", "--no-filters", "--", str(full)).strip()
        try:
            self._git("cat-file", "-e", blob)
        except GitError:
            return False
        return True

    def _restore(self, path: str) -> None:
        if self._git("ls-files", "--", path):
            self._git("checkout-index", "--force", "--quiet", "--", path)
        else:
            (self.folder / path).unlink(missing_ok=True)

    def _checkout(self, old: str, new: str, paths: Sequence[str]) -> None:
        try:
            self._git("read-tree", "-m", "-u", old, new)
        except GitError as error:
            dirty = {*self._dirty(paths)} | ({*_NAMED.findall(str(error))} & {*paths})
            if dirty:
                raise UncommittedError(sorted(dirty)) from error
            # A file that was touched and says the same is not up to date for git until that is known.
            self._git("update-index", "-q", "--refresh")
            self._git("read-tree", "-m", "-u", old, new)

    def _dirty(self, paths: Sequence[str]) -> list[str]:
        """Which of the files differ from what is committed."""
        options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
        return [line[3:] for line in self._git("status", *options, "--", *paths).split("\0") if line]

    def _git(self, *arguments: str) -> str:
        more = {"GIT_INDEX_FILE": str(self._spare)}
        said = run_git(self.folder, *arguments, more=more, keep=[self._journal.descriptor])
        return said.decode(errors="surrogateescape")

    def _take_lock(self) -> None:
        """Hold git's lock of the index, as each git command does that changes it."""
        begun = time.monotonic()
        mended = False
        while True:
            try:
                descriptor = os.open(self._lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError as error:
                waited = time.monotonic() - begun
                if waited > _PATIENCE:
                    raise UnavailableError(
                        f"{self._lock} is there: somebody's git command runs, or was killed",
                        hint=f"if no git command runs there, remove {self._lock}",
                    ) from error
                if waited > _MEND_AFTER and not mended:
                    mended = True
                    self._mend()
                time.sleep(0.01)
            else:
                os.write(descriptor, self._journal.token.encode())
                os.close(descriptor)
                return


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
