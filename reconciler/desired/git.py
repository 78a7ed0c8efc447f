"""A commit of a git repository as a tree of files: the committed content, never the work tree.

The git program does the work.  It is kept from asking for passwords, from running a remote helper that a
URL names, and from looking at another repository that the environment of a git hook points to.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.desired.cat_file import CatFile
from reconciler.desired.refs import GitFolders, Refs
from reconciler.desired.tree import (
    NOTHING_EXCLUDED,
    Content,
    Excluded,
    Listing,
    inside,
    is_manifest_file,
    refused,
    too_large,
)
from reconciler.errors import DesiredStateError, Problem
from reconciler.settings import child_environment

_LOCAL_TIMEOUT = 120.0
_FETCH_TIMEOUT = 120.0
_BATCH_BYTES = 64 << 20
_FEW = 64
_FILE_MODES = ("100644", "100755", "100664")
_SUBMODULE = "160000"
_ENVIRONMENT: Mapping[str, str | None] = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    # A git hook that runs us sets these, and they would win over the path that was configured.
    "GIT_DIR": None,
    "GIT_WORK_TREE": None,
    "GIT_INDEX_FILE": None,
    "GIT_OBJECT_DIRECTORY": None,
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": None,
    "GIT_NAMESPACE": None,
    "GIT_PREFIX": None,
}


class GitError(Exception):
    """The git program failed; the message is what it said, in one line."""


class GitTree:
    """The tree of one ref.

    Args:
        root: Work tree (or a folder in it), or bare repository.
        ref: Branch, tag or commit.
        folder: Only YAML below this folder of it; empty for all.
        remote: URL or name of a remote that `fetch` follows, or None.
        limit: Bytes that a file may have.
        excluded: What is no manifest though it looks like one.
    """

    def __init__(
        self,
        root: Path,
        ref: str,
        folder: str,
        remote: str | None,
        limit: int,
        excluded: Excluded = NOTHING_EXCLUDED,
    ) -> None:
        self.root = root
        self._ref = ref
        self._folder = inside(folder) if folder else ""
        self._remote = remote
        self._limit = limit
        self._excluded = excluded
        self._blobs: dict[str, str] = {}
        self._modes: dict[str, str] = {}
        self._listing: Listing | None = None
        self._refs: Refs | None = None
        self._cat_file: CatFile | None = None
        self._full: dict[str, str] = {}
        self._prefix: str | None = None
        self._warnings: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Tree`."""
        return self._warnings

    @property
    def tracking(self) -> str:
        """Where the followed ref is kept: another remote or ref must not find what this one left."""
        digest = hashlib.sha256(f"{self._remote}\n{self._ref}".encode()).hexdigest()[:16]
        return f"refs/reconciler/{digest}"

    def listing(self) -> Listing:
        """See `Tree`."""
        commit = self.head()
        if self._listing is None or self._listing.revision != commit:
            self._listing = self._list(commit)
        return self._listing

    @property
    def listed(self) -> str | None:
        """The commit that was listed last."""
        return self._listing.revision if self._listing is not None else None

    def follow(self, commit: str, changes: Mapping[str, str | None]) -> None:
        """Take a commit that changes these files of the one that was listed last: path to blob, or None."""
        known = self._listing
        if known is None:
            return
        blobs, files = {**self._blobs}, {**known.files}
        for path, blob in changes.items():
            if blob is None:
                blobs.pop(path, None)
                files.pop(path, None)
                self._modes.pop(path, None)
            else:
                blobs[path] = blob
                if self._wanted(path) and is_manifest_file(path):
                    files[path] = blob
        if files.keys() - known.files.keys():
            files = dict(sorted(files.items()))
        self._blobs = blobs
        self._listing = Listing(commit, files, known.problems)

    def version(self, path: str) -> Hashable | None:
        """See `Tree`."""
        return self._blobs.get(path)

    def mode(self, path: str) -> str:
        """A file's mode as git writes it; that of any new file if there is none."""
        return self._modes.get(path, _FILE_MODES[0])

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, Content]]:
        """See `Tree`."""
        if len(paths) <= _FEW:
            if self._cat_file is None:
                self._cat_file = CatFile(self.root, child_environment(_ENVIRONMENT))
            found = self._cat_file.read([self._blobs[path] for path in paths], self._limit)
            if found is not None:
                for path, content in zip(paths, found, strict=True):
                    yield (
                        path,
                        (too_large(path, content, self._limit) if isinstance(content, int) else content),
                    )
                return
        sizes = self._sizes([self._blobs[path] for path in paths])
        batch: list[str] = []
        room = _BATCH_BYTES
        for path, size in zip(paths, sizes, strict=True):
            if size > self._limit:
                yield path, too_large(path, size, self._limit)
                continue
            if batch and size > room:
                yield from self._contents(batch)
                batch, room = [], _BATCH_BYTES
            batch.append(path)
            room -= size
        yield from self._contents(batch)

    def place(self, revision: str, target: Path) -> Path:
        """See `Tree`."""
        try:
            archive = self._git("archive", "--format=tar", revision)
        except GitError as error:
            raise _repository_error(self.root, error) from error
        target.mkdir(mode=0o700, parents=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                # git keeps '..' out of its trees; symbolic links may lead anywhere, and are left out.
                if member.isfile():
                    path = target / inside(member.name)
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    content = tar.extractfile(member)
                    path.write_bytes(content.read() if content is not None else b"")
                    path.chmod(0o700 if member.mode & 0o100 else 0o600)
        return target

    def fetch(self) -> bool:
        """Bring the remote's ref; a failure becomes a warning, and what was fetched before stays."""
        if self._remote is None:
            return False
        try:
            if not self.root.exists():
                self._git("init", "--quiet", "--bare", str(self.root), at=None)
            before = self._resolve(self.tracking)
            self._git(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options"),
                *(self._remote, f"+{self._ref}:{self.tracking}"),
                timeout=_FETCH_TIMEOUT,
            )
            moved = self._resolve(self.tracking) != before
        except GitError as error:
            self._warnings = (without_password(f"cannot fetch {self._ref} from {self._remote}: {error}"),)
            return False
        self._warnings = ()
        return moved

    def head(self) -> str:
        """The commit id of the ref. Safe from any thread, and mostly without a process.

        Raises:
            DesiredStateError: There is no such repository or ref.
        """
        if self._remote is not None:
            return self._followed_commit()
        if not self.root.is_dir():
            raise refused(self.root, "the source does not exist", hint="set source.path, or use --source")
        try:
            commit = self._resolve(self._ref)
            empty = commit is None and self._git("rev-list", "--max-count=1", "--all") == b""
        except GitError as error:
            raise _repository_error(self.root, error) from error
        if commit is None:
            why = "has no commit yet" if empty else f"has no branch, tag or commit {self._ref!r}"
            raise refused(self.root, f"the git repository {why}")
        return commit

    def pin(self, commit: str) -> None:
        """Read this commit from now on, wherever the ref is and goes."""
        self._ref, self._remote = commit, None

    def _followed_commit(self) -> str:
        try:
            commit = self._resolve(self.tracking) if self.root.is_dir() else None
            if commit is None:
                self.fetch()
                commit = None if self._warnings else self._resolve(self.tracking)
        except GitError as error:
            raise _repository_error(self.root, error) from error
        if commit is None:
            said = self._warnings[0] if self._warnings else f"{self._ref!r} is no commit"
            raise refused(self.root, f"nothing was fetched into the repository yet: {said}")
        return commit

    def _resolve(self, ref: str) -> str | None:
        """The commit that a ref means, or None when there is no such ref."""
        commit = self.refs.commit(self._full.get(ref, ref))
        if commit is not None:
            return commit
        if ref not in self._full and not ref.startswith("refs/") and ref != "HEAD":
            self._full[ref] = self._full_name(ref)
        try:
            line = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except GitError as error:
            if str(error):
                raise
            return None
        return line.decode().strip()

    @property
    def refs(self) -> Refs:
        """Reads refs without a process.

        Raises:
            GitError: This is no repository.
        """
        if self._refs is None:
            told = self._git("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir")
            own, common = told.decode(errors="surrogateescape").splitlines()[:2]
            self._refs = Refs(GitFolders(Path(own), Path(common)))
        return self._refs

    def _full_name(self, ref: str) -> str:
        """``refs/heads/main`` for ``main``; what it is called is not looked up again."""
        try:
            told = self._git("rev-parse", "--symbolic-full-name", "--end-of-options", ref)
        except GitError:
            return ref
        # With --end-of-options git 2.39 prints that word as well.
        lines = [line for line in told.decode(errors="replace").split("\n") if line.startswith("refs/")]
        return lines[0] if lines else ref

    def _moved(self, old: str, new: str) -> bool:
        """Take the files that differ between two commits; False if they have to be listed anew."""
        try:
            output = self._git("diff-tree", "-r", "-z", "--no-renames", *self._relative(), old, new)
        except GitError:  # the old one is gone, for example
            return False
        words = output.decode(errors="backslashreplace").split("\0")[:-1]
        changes: dict[str, str | None] = {}
        for about, path in zip(words[::2], words[1::2], strict=True):
            _, mode, _, blob, status = about.split(" ")
            if status == "D":
                changes[path] = None
            elif mode == _FILE_MODES[0] and path not in self._modes:
                changes[path] = blob
            else:
                return False
        self.follow(new, changes)
        return True

    def _relative(self) -> tuple[str, ...]:
        """A source may be a folder of a work tree: git then tells paths below that folder."""
        return ("--relative",) if self.prefix else ()

    @property
    def prefix(self) -> str:
        """Path of the source's root in the repository, with a slash at its end; mostly empty.

        Raises:
            GitError: This is no repository.
        """
        if self._prefix is None:
            self._prefix = (
                self._git("rev-parse", "--show-prefix").decode(errors="surrogateescape").strip("\n")
            )
        return self._prefix

    def _list(self, commit: str) -> Listing:
        known = self._listing
        if known is not None and known.revision is not None and not known.problems:
            moved = self._moved(known.revision, commit)
            if moved and self._listing is not None and (self._listing.files or not self._folder):
                return self._listing
        try:
            output = self._git("ls-tree", "-r", "-z", commit)
        except GitError as error:
            raise _repository_error(self.root, error) from error
        blobs: dict[str, str] = {}
        modes: dict[str, str] = {}
        problems = []
        for line in output.split(b"\0")[:-1]:
            about, _, raw_path = line.partition(b"\t")
            mode, _, blob = about.decode().split(" ")
            path = raw_path.decode(errors="backslashreplace")
            if mode in _FILE_MODES:
                blobs[path] = blob
                if mode != _FILE_MODES[0]:
                    modes[path] = mode
            elif self._wanted(path) and (mode == _SUBMODULE or is_manifest_file(path)):
                what = "a submodule" if mode == _SUBMODULE else "a symbolic link"
                message = f"{what}, which is not read from git; set source.folder to leave it out"
                problems.append(Problem(path, 0, 0, "", message))
        wanted = {path: blob for path, blob in blobs.items() if self._wanted(path)}
        if self._folder and not wanted:
            raise refused(self.root, f"there is no folder {self._folder} at {commit[:12]}")
        self._blobs, self._modes = blobs, modes
        files = {path: blob for path, blob in wanted.items() if is_manifest_file(path)}
        return Listing(commit, files, tuple(problems))

    def _wanted(self, path: str) -> bool:
        inside_folder = not self._folder or path.startswith(self._folder + "/")
        return inside_folder and path not in self._excluded

    def _sizes(self, blobs: Sequence[str]) -> list[int]:
        lines = self._batch("--batch-check=%(objectsize)", blobs).split(b"\n")[:-1]
        try:
            return [int(line) for line in lines]
        except ValueError as error:
            raise _repository_error(self.root, GitError("an object is missing")) from error

    def _contents(self, paths: Sequence[str]) -> Iterator[tuple[str, Content]]:
        output = self._batch("--batch=%(objectsize)", [self._blobs[path] for path in paths])
        at = 0
        for path in paths:
            end = output.index(b"\n", at)
            size = int(output[at:end])
            yield path, output[end + 1 : end + 1 + size]
            at = end + 1 + size + 1

    def _batch(self, option: str, blobs: Sequence[str]) -> bytes:
        if not blobs:
            return b""
        try:
            return self._git(
                "cat-file", option, "--buffer", stdin="".join(f"{blob}\n" for blob in blobs).encode()
            )
        except GitError as error:
            raise _repository_error(self.root, error) from error

    def _git(
        self, *arguments: str, stdin: bytes = b"", timeout: float = _LOCAL_TIMEOUT, at: str | None = "root"
    ) -> bytes:
        return run_git(self.root if at is not None else None, *arguments, stdin=stdin, timeout=timeout)


def run_git(
    root: Path | None,
    *arguments: str,
    stdin: bytes = b"",
    timeout: float = _LOCAL_TIMEOUT,
    more: Mapping[str, str | None] | None = None,
    keep: Sequence[int] = (),
) -> bytes:
    """What the git program prints.

    Args:
        root: Where it runs, or None.
        *arguments: Of git.
        stdin: What it reads.
        timeout: Seconds.
        more: Further variables of its environment.
        keep: File descriptors that stay open in it.

    Raises:
        GitError: It failed.
    """
    place = ("-C", str(root)) if root is not None else ()
    try:
        done = subprocess.run(
            ["git", *place, *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=child_environment({**_ENVIRONMENT, **(more or {})}),
            pass_fds=keep,
            start_new_session=True,  # no terminal: an ssh that wants a password fails at once
        )
    except FileNotFoundError as error:
        raise GitError("the program git is not installed") from error
    except OSError as error:
        raise GitError(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"no answer within {timeout:.0f} seconds") from error
    if done.returncode:
        raise GitError(" ".join(done.stderr.decode(errors="replace").split()))
    return done.stdout


def blob_id(content: bytes, like: str) -> str:
    """The name that git gives a file's content, in a repository with commits `like` this one.

    Source: git-hash-object(1): the digest of ``blob``, the size, a NUL, and the content.
    """
    kind = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(content) + content).hexdigest()


def without_password(message: str) -> str:
    """URLs in a message, without ``user:password@``."""
    return re.sub(r"//[^/@\s]*@", "//", message)


def _repository_error(root: Path, error: GitError) -> DesiredStateError:
    said = str(error)
    if "dubious ownership" in said:
        trust = f"if you trust it: git config --global --add safe.directory {root}"
        return refused(root, "git refuses the repository: it belongs to another user", hint=trust)
    if "not a git repository" in said:
        folder = "to read it as a folder set source.git to false"
        return refused(root, "this is not a git repository", hint=folder)
    return refused(root, f"git cannot read the repository: {said}")
