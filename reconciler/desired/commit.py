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
from reconciler.errors import ReconcilerError
from reconciler.model.config import SourceConfig

_PUSH_TIMEOUT = 120.0
_AUTHOR = re.compile(r"\s*([^<>\n]*[^<>\s])\s*<([^<>\s]+)>\s*")
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
        prefix = self._git("rev-parse", "--show-prefix")
        path = prefix + new.file
        if self._config.remote is not None:
            return self._to_remote(self._config.remote, path, new)
        branch = self._branch()
        tree = self._work_tree(branch)
        if tree is not None:
            commit = self._in_work_tree(tree, path, new)
        else:
            old = self._git("rev-parse", "--verify", branch)
            commit = self._commit(old, path, new)
            self._git("update-ref", "-m", new.message.partition("\n")[0], branch, commit, old)
        return f"{commit[:12]} on {branch.removeprefix('refs/heads/')}"

    # -- which branch -------------------------------------------------------------------------------

    def _branch(self) -> str:
        """The full name of the branch that the source follows."""
        ref = self._config.ref
        if ref == "HEAD":
            try:
                return self._git("symbolic-ref", "HEAD")
            except GitError as error:
                raise ReconcilerError(
                    f"{self._root} has no branch checked out", hint="set source.ref to a branch"
                ) from error
        for name in (f"refs/heads/{ref}", ref):
            if name.startswith("refs/heads/") and self._resolves(name):
                return name
        raise ReconcilerError(
            f"the source follows {ref!r}, which is no branch: a tag or a commit cannot be changed",
            hint="set source.ref to a branch",
        )

    def _resolves(self, name: str) -> bool:
        try:
            self._git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        except GitError:
            return False
        return True

    def _work_tree(self, branch: str) -> Path | None:
        """Where the branch is checked out, in this work tree or a linked one."""
        tree: Path | None = None
        for line in self._git("worktree", "list", "--porcelain").splitlines():
            word, _, value = line.partition(" ")
            if word == "worktree":
                tree = Path(value)
            elif (word, value) == ("branch", branch):
                return tree
            elif word == "bare":
                tree = None
        return None

    # -- how ----------------------------------------------------------------------------------------

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

    def _commit(self, parent: str, path: str, new: NewText) -> str:
        """A commit on `parent` that changes this file, without a work tree. No branch moves."""
        entry = self._git("ls-tree", "--full-tree", parent, "--", path)
        mode, blob = (entry.split()[0], entry.split()[2]) if entry else ("100644", None)
        held = run_git(self._root, "cat-file", "blob", blob).decode() if blob else None
        self._require(new, held)
        with tempfile.TemporaryDirectory(prefix="reconciler-") as folder:
            index: dict[str, str | None] = {"GIT_INDEX_FILE": f"{folder}/index"}
            self._git("read-tree", parent, more=index)
            made = self._git("hash-object", "-w", "--stdin", stdin=new.text.encode())
            self._git("update-index", "--add", "--cacheinfo", f"{mode},{made},{path}", more=index)
            tree = self._git("write-tree", more=index)
        return self._git("commit-tree", tree, "-p", parent, stdin=new.message.encode())

    def _require(self, new: NewText, held: str | None) -> None:
        if held != new.before:
            what = "is there already" if new.before is None else "was changed meanwhile"
            raise ReconcilerError(f"{new.file} {what} in {self._root}", hint=_AGAIN)

    def _to_remote(self, remote: str, path: str, new: NewText) -> str:
        """Commit on what was fetched, push, and follow only if the remote took it."""
        config = self._config
        tracking = GitTree(self._root, config.ref, "", remote, config.max_file_size).tracking
        branch = self._remote_branch(remote)
        old = self._git("rev-parse", "--verify", tracking)
        commit = self._commit(old, path, new)
        try:
            run_git(
                self._root,
                "push",
                "--quiet",
                "--end-of-options",
                remote,
                f"{commit}:{branch}",
                timeout=_PUSH_TIMEOUT,
            )
        except GitError as error:
            raise ReconcilerError(
                f"{without_password(remote)} does not take the change: {without_password(str(error))}",
                hint=_AGAIN,
            ) from error
        self._git("update-ref", tracking, commit, old)
        return f"{commit[:12]} on {branch.removeprefix('refs/heads/')} of {without_password(remote)}"

    def _remote_branch(self, remote: str) -> str:
        ref = self._config.ref
        told = run_git(self._root, "ls-remote", "--symref", "--end-of-options", remote, timeout=_PUSH_TIMEOUT)
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

    def _git(
        self,
        *arguments: str,
        stdin: bytes = b"",
        at: Path | None = None,
        more: dict[str, str | None] | None = None,
    ) -> str:
        said = run_git(at or self._root, *arguments, stdin=stdin, more={**self._identity, **(more or {})})
        return said.decode(errors="surrogateescape").rstrip("\n")
