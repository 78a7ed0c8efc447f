"""A branch of a git repository, here or at a remote: a group is one compare-and-swap of it."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.desired.git import GitError, GitTree, blob_id, run_git, without_password
from reconciler.desired.repository.branches import local_branch, remote_branch
from reconciler.desired.repository.chain import FileChange, write_chain
from reconciler.desired.repository.journal import Journal, Record
from reconciler.desired.repository.place import InTheWayError, MovedError, Step, files_of
from reconciler.desired.repository.work_tree import UncommittedError, WorkTree, WorkTrees
from reconciler.errors import ConflictError, DesiredStateError, ReconcilerError, UnavailableError
from reconciler.model.config import SourceConfig

_PUSH_TIMEOUT = 120.0
_TURN = 5.0
_MEND_EVERY = 10.0
_FETCH_EVERY = 15.0
_PACKS = 50
_REPACK_TIMEOUT = 3600.0
_PRIVATE = "refs/reconciler/writes"


class GitPlace:
    """See `Place`.

    Several processes may write at once, and people commit and push: what keeps them apart is that the branch
    moves only from the very commit that a group was made on.

    Args:
        tree: The commit that the source follows.
        config: Where the desired state is.
    """

    def __init__(self, tree: GitTree, config: SourceConfig) -> None:
        self.tree = tree
        self._config = config
        self._root = tree.root
        self._journal: Journal | None = None
        self._mended = time.monotonic()
        self._packs = 0
        self._fetched = time.monotonic()
        self._tidying: threading.Thread | None = None
        self._committer: str | None = None
        self._asked_committer = False
        self._work_trees: WorkTrees | None = None
        self._branch_there: str | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Place`. A courtesy: who does not get it in time goes on without."""
        try:
            common = self.tree.refs.folders.common
            descriptor = os.open(common / "reconciler.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except (GitError, OSError):
            yield
            return
        try:
            until = time.monotonic() + _TURN
            while not _flock(descriptor) and time.monotonic() < until:
                time.sleep(0.002)
            yield
        finally:
            os.close(descriptor)

    def checked_out(self) -> bool:
        """True if the branch's files lie where the source says that the repository is."""
        if self._config.remote is not None:
            return False
        tree = self._trees().of(local_branch(self._root, self._config.ref))
        return tree is not None and self._root.resolve().is_relative_to(tree.resolve())

    def _trees(self) -> WorkTrees:
        if self._work_trees is None:
            self._work_trees = WorkTrees(self._root, self.tree.refs.folders.common)
        return self._work_trees

    def newest(self) -> None:
        """See `Place`: a remote is asked."""
        self.tree.fetch()

    def glance(self) -> None:
        """See `Place`: a remote is asked in the background, and not by each reader."""
        if self._config.remote is None or time.monotonic() - self._fetched < _FETCH_EVERY:
            return
        self._fetched = time.monotonic()
        threading.Thread(target=self._fetch, daemon=True).start()

    def _fetch(self) -> None:
        with suppress(DesiredStateError), self.turn():  # else it might bring back what was before our push
            self.tree.fetch()

    def close(self) -> None:
        """See `Place`."""
        if self._tidying is not None:
            self._tidying.join(_TURN)
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def put(self, revision: str | None, steps: Sequence[Step]) -> list[str]:
        """See `Place`.

        Raises:
            InTheWayError: People's changes are in the way of some files.
        """
        try:
            return self._put(revision or "", steps)
        except GitError as error:
            raise UnavailableError(
                f"git cannot write to {self._root}: {without_password(str(error))}"
            ) from error

    def _put(self, old: str, steps: Sequence[Step]) -> list[str]:
        if time.monotonic() - self._mended > _MEND_EVERY:
            self._mend()
        prefix = self.tree.prefix
        changes = [
            FileChange(prefix + one.file, self.tree.mode(one.file), one.after, one.message, one.author)
            for one in steps
        ]
        remote = self._config.remote
        branch = local_branch(self._root, self._config.ref) if remote is None else self.tree.tracking
        keep = [self.journal.descriptor]
        commits = write_chain(self._root, self._private, old, changes, self._known_committer(), keep)
        new, message = commits[-1], steps[-1].message.partition("\n")[0]
        if remote is not None:
            self._push(remote, old, new)
            with suppress(MovedError):  # somebody fetched it meanwhile
                self._swap(branch, old, new, message)
        else:
            self._at_home(branch, old, new, message, [change.path for change in changes])
        self._follow(old, new, steps)
        self._tidy()
        return commits

    def _tidy(self) -> None:
        """Each group is a pack: now and then many small ones become one, while others go on."""
        self._packs += 1
        if self._packs % _PACKS == 0 and (self._tidying is None or not self._tidying.is_alive()):
            self._tidying = threading.Thread(target=_repack, args=(self._root,), daemon=True)
            self._tidying.start()

    @property
    def journal(self) -> Journal:
        """Where others find what we are about to do; at first what the dead left is mended."""
        if self._journal is None:
            self._journal = Journal(self.tree.refs.folders.common)
            self._mend()
        return self._journal

    @property
    def _private(self) -> str:
        return f"{_PRIVATE}/{self.journal.token}"

    def _mend(self) -> None:
        self._mended = time.monotonic()
        self.journal.mend(self._mend_one)

    def _mend_one(self, record: Record) -> None:
        """What a killed writer left: a ref that keeps its commits, and perhaps files in between."""
        token, tree = str(record["token"]), record.get("tree")
        with suppress(GitError, OSError):  # what cannot be mended must not keep everybody from writing
            if isinstance(tree, str) and Path(tree).is_dir():
                WorkTree(Path(tree), self.journal, lambda: None).mend(token, list(record["paths"]))
            run_git(self._root, "update-ref", "-d", f"{_PRIVATE}/{token}")

    def _at_home(self, branch: str, old: str, new: str, message: str, paths: Sequence[str]) -> None:
        """Move the branch, and the files of those who have it checked out."""
        tree = self._trees().of(branch)
        if tree is None:
            self._swap(branch, old, new, message)
            return
        try:
            files = WorkTree(tree, self.journal, self._mend)
            files.move(old, new, sorted({*paths}), lambda: self._swap(branch, old, new, message))
        except UncommittedError as error:
            if self.tree.head() != old:
                raise MovedError from error
            prefix = self.tree.prefix
            raise InTheWayError(
                {path.removeprefix(prefix): _uncommitted(tree, path) for path in error.files}
            ) from error
        except GitError as error:
            if self.tree.head() != old:
                raise MovedError from error
            raise

    def _swap(self, branch: str, old: str, new: str, message: str) -> None:
        """Move a ref, if it is still where it was.

        Raises:
            MovedError: It is not.
        """
        orders = f"update {branch} {new} {old}\ndelete {self._private} {new}\n"
        try:
            keep = [self.journal.descriptor]
            run_git(self._root, "update-ref", "-m", message, "--stdin", stdin=orders.encode(), keep=keep)
        except GitError as error:
            if self.tree.head() != old or "lock" in str(error):
                raise MovedError from error
            raise ConflictError(f"git does not take the change: {error}") from error

    def _push(self, remote: str, old: str, new: str) -> None:
        branch = self._branch_there = self._branch_there or remote_branch(
            self._root, remote, self._config.ref
        )
        lease = f"--force-with-lease={branch}:{old}"
        command = ("push", "--quiet", lease, "--end-of-options", remote, f"{new}:{branch}")
        try:
            run_git(self._root, *command, timeout=_PUSH_TIMEOUT)
        except GitError as error:
            if self.tree.fetch() or self.tree.head() != old:
                raise MovedError from error
            said = without_password(str(error))
            told = f"{without_password(remote)} does not take the change: {said}"
            if "rejected" in said or "declined" in said:
                raise ConflictError(told) from error
            raise UnavailableError(told, hint="try again later") from error

    def _follow(self, old: str, new: str, steps: Sequence[Step]) -> None:
        """Know the new tree without listing it."""
        if self.tree.listed == old:
            blobs = {
                file: None if text is None else blob_id(text.encode(), new)
                for file, _, text in files_of(steps)
            }
            self.tree.follow(new, blobs)

    def _known_committer(self) -> str | None:
        """Who git says that we are, if it was told."""
        if not self._asked_committer:
            self._asked_committer = True
            with suppress(GitError):
                told = run_git(self._root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
                self._committer = told.decode(errors="replace").rpartition(">")[0] + ">"
        return self._committer


def _repack(root: Path) -> None:
    """Source: git-repack(1), ``--geometric``. Where people do not want git to tidy up, we do not either."""
    with suppress(GitError):
        told = run_git(root, "config", "--type=int", "--default=1", "gc.auto")
        if told.strip() != b"0":
            run_git(root, "repack", "-d", "--quiet", "--geometric=2", timeout=_REPACK_TIMEOUT)


def _uncommitted(tree: Path, path: str) -> ReconcilerError:
    return ConflictError(
        f"{tree / path} has changes that are not committed",
        hint="whoever made them commits or undoes them, then try again",
        file=path,
    )


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
