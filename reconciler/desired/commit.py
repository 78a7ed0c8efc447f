"""Put a changed file where the desired state lives: into its folder, or as a commit into its repository.

A work tree in which people work is only touched where the branch is checked out and the file is clean.
Anywhere else the commit is made without any work tree, and the branch moves only from where it was read.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.git import GitError, GitTree, run_git, without_password
from reconciler.desired.repository.branches import local_branch, remote_branch
from reconciler.desired.repository.git_place import GitPlace
from reconciler.desired.repository.place import MovedError, Step
from reconciler.desired.repository.work_tree import WorkTrees
from reconciler.errors import ReconcilerError
from reconciler.model.config import SourceConfig

_AUTHOR = re.compile(r"\s*([^<>\n]*[^<>\s])\s*<([^<>\s]+)>\s*")
_ATTEMPTS = 10
_AGAIN = "nothing was changed; run the same command again"


@dataclass(frozen=True, slots=True)
class NewText:
    """A file's new content.

    Attributes:
        file: Path relative to the source's root.
        text: What it shall hold.
        before: What it held when it was read; None for a file that is not there yet.
        message: Why, for a commit.
        author: ``Name <mail>`` for a commit; None takes git's own configuration.
    """

    file: str
    text: str
    before: str | None
    message: str
    author: str | None = None


def save(config: SourceConfig, base: Path, new: NewText) -> str:
    """Save it, all or nothing, and say where it is now: ``machines/web.yaml``, ``1f2e3d4c5b6a on main``.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
        new: The file.

    Raises:
        ReconcilerError: It cannot be saved, or somebody else changed it meanwhile; nothing was changed.
    """
    root = base / config.path
    if not config.git:
        return _save_file(root / new.file, new)
    try:
        return _Repository(root, config, _identity(root, new.author)).save(new)
    except GitError as error:
        raise ReconcilerError(f"git cannot save {new.file}: {without_password(str(error))}") from error


def _save_file(path: Path, new: NewText) -> str:
    path = path.resolve()  # a symbolic link stays one
    if content_of(path) != new.before:
        what = "exists already" if new.before is None else "was changed meanwhile"
        raise ReconcilerError(f"{path} {what}", hint=_AGAIN)
    try:
        write_file(path, new.text)
    except OSError as error:
        raise ReconcilerError(f"cannot write {path}: {error.strerror}") from error
    return str(path)


def content_of(path: Path) -> str | None:
    """A file's text; None if there is none."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None


def write_file(path: Path, text: str) -> None:
    """Put a file in the place of another at once, with its mode and owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _like(path, Path(name))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _like(old: Path, new: Path) -> None:
    """Give `new` the mode and owner of `old`, or those of any new file."""
    try:
        about = old.stat()
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        new.chmod(0o666 & ~umask)
        return
    new.chmod(about.st_mode & 0o7777)
    with contextlib.suppress(PermissionError):  # of others' files the content matters more
        os.chown(new, about.st_uid, about.st_gid)


def _identity(root: Path, author: str | None) -> dict[str, str | None]:
    """Variables that tell git who commits.

    Raises:
        ReconcilerError: Nobody does, or `author` is no name with an address.
    """
    known = {word: _has_identity(root, word) for word in ("AUTHOR", "COMMITTER")}
    if author is None:
        if all(known.values()):
            return {}
        raise ReconcilerError(
            f"git does not know in whose name to commit to {root}",
            hint="give --author 'Your Name <you@example.com>', or set git's user.name and user.email",
        )
    found = _AUTHOR.fullmatch(author)
    if found is None:
        raise ReconcilerError(f"{author!r} is no author", hint="write: Your Name <you@example.com>")
    words = ["AUTHOR"] if known["COMMITTER"] else ["AUTHOR", "COMMITTER"]
    return {
        f"GIT_{word}_{part}": value
        for word in words
        for part, value in zip(("NAME", "EMAIL"), found.groups(), strict=True)
    }


def _has_identity(root: Path, word: str) -> bool:
    try:
        run_git(root, "-c", "user.useConfigOnly=true", "var", f"GIT_{word}_IDENT")
    except GitError:
        return False
    return True


class _Repository:
    """The repository of a git source, about to get one commit."""

    def __init__(self, root: Path, config: SourceConfig, identity: dict[str, str | None]) -> None:
        self._root = root
        self._config = config
        self._identity = identity

    def save(self, new: NewText) -> str:
        if self._config.remote is not None:
            branch = remote_branch(self._root, self._config.remote, self._config.ref)
            where = f" of {without_password(self._config.remote)}"
            return f"{self._without_work_tree(new)[:12]} on {branch.removeprefix('refs/heads/')}{where}"
        path = self._git("rev-parse", "--show-prefix") + new.file
        branch = local_branch(self._root, self._config.ref)
        tree = WorkTrees(self._root, self._common()).of(branch)
        commit = self._in_work_tree(tree, path, new) if tree is not None else self._without_work_tree(new)
        return f"{commit[:12]} on {branch.removeprefix('refs/heads/')}"

    def _common(self) -> Path:
        return Path(self._git("rev-parse", "--path-format=absolute", "--git-common-dir"))

    def _in_work_tree(self, tree: Path, path: str, new: NewText) -> str:
        """Write the file where people see it, and commit it alone, with their hooks."""
        if self._git("status", "--porcelain", "--", path, at=tree):
            raise ReconcilerError(
                f"{tree / path} has changes that are not committed",
                hint="commit or undo them, then try again",
            )
        self._require(new, content_of(tree / path))
        try:
            write_file(tree / path, new.text)
            self._git("add", "--", path, at=tree)
            self._git("commit", "--quiet", "--only", "--message", new.message, "--", path, at=tree)
        except (GitError, OSError):
            self._take_back(tree, path, new)
            raise
        return self._git("rev-parse", "HEAD", at=tree)

    def _take_back(self, tree: Path, path: str, new: NewText) -> None:
        if new.before is not None:
            write_file(tree / path, new.before)
        else:
            (tree / path).unlink(missing_ok=True)
        with contextlib.suppress(GitError):
            self._git("reset", "--quiet", "--", path, at=tree)

    def _without_work_tree(self, new: NewText) -> str:
        """One commit on what the branch says now, as programs make them: see `GitPlace`."""
        config = self._config
        tree = GitTree(self._root, config.ref, config.folder, config.remote, config.max_file_size)
        place = GitPlace(tree, config)
        author = new.author or self._git("var", "GIT_AUTHOR_IDENT").rpartition(">")[0] + ">"
        try:
            for _ in range(_ATTEMPTS):
                revision = tree.listing().revision
                held = None
                if tree.version(new.file) is not None:
                    content = next(iter(tree.read([new.file])))[1]
                    held = content.decode(errors="replace") if isinstance(content, bytes) else ""
                self._require(new, held)
                step = Step(new.file, held, new.text, new.message, author)
                with contextlib.suppress(MovedError):
                    return place.put(revision, [step])[0]
                if config.remote is not None:
                    remote = without_password(config.remote)
                    told = f"{remote} does not take the change: rejected, since somebody else was quicker"
                    raise ReconcilerError(told, hint=_AGAIN)
        finally:
            place.close()
        raise ReconcilerError(f"others changed {self._root} all the time", hint=_AGAIN)

    def _require(self, new: NewText, held: str | None) -> None:
        if held != new.before:
            what = "is there already" if new.before is None else "was changed meanwhile"
            raise ReconcilerError(f"{new.file} {what} in {self._root}", hint=_AGAIN)

    def _git(self, *arguments: str, at: Path | None = None) -> str:
        said = run_git(at or self._root, *arguments, more=self._identity)
        return said.decode(errors="surrogateescape").rstrip("\n")
