"""The desired-state repository as programs read and write it: `Repository`."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from reconciler.desired.checksums import ChecksumFiles
from reconciler.desired.edit import document_text
from reconciler.desired.git import GitTree, blob_id
from reconciler.desired.last_good import earlier_good
from reconciler.desired.repository.folder_place import FolderPlace
from reconciler.desired.repository.git_place import GitPlace
from reconciler.desired.repository.group import Doubt, Outcome, gather
from reconciler.desired.repository.hosts import KIND as HOST
from reconciler.desired.repository.hosts import Hosts
from reconciler.desired.repository.overlay import Overlay
from reconciler.desired.repository.place import InTheWayError, MovedError, Place
from reconciler.desired.repository.wishes import Bench, Made, Rules
from reconciler.desired.source import Source, image_files, open_tree
from reconciler.desired.tree import Excluded, inside
from reconciler.errors import (
    ConflictError,
    DesiredStateError,
    NotFoundError,
    Problem,
    ReconcilerError,
    UnavailableError,
    UsageError,
)
from reconciler.model.api_config import ApiConfig
from reconciler.model.config import SourceConfig
from reconciler.model.desired import DesiredState
from reconciler.model.write import Data, Write, Written

_GROUP = 256
"""Wishes in one group: what waits behind it waits for as long as it takes."""

_GATHER = 0.002
"""Seconds that a leader waits, if there are many clients, for those who just got an answer to wish again."""

_ATTEMPTS = 100
"""How often a group is made anew because others were quicker; each time one of those others got through."""

_FRESH = 2.0
"""Seconds for which files beside the manifests (images, checksums) are not looked at again."""


@dataclass
class _Job:
    """A wish that somebody waits for."""

    wish: Write
    answer: Written | ReconcilerError | None = None
    woken: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a read found.

    Attributes:
        revision: Of the tree; None for a folder.
        at: When the look began, of `time.monotonic`.
        look: Number of that look.
        outcome: The desired state, or why it is refused.
    """

    revision: str | None
    at: float
    look: int
    outcome: DesiredState | DesiredStateError

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every mistake that was found."""
        return self.outcome.problems if isinstance(self.outcome, DesiredStateError) else ()


class Repository:
    """The desired state, to be read and written by any thread of any number of processes.

    Whoever wishes for a change while a group is on its way waits for the next one, which one of those who
    wait then writes for all of them: there is no thread that has to be started or ended.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
        api: What programs may write, and where.
        digests: A file that remembers the digests of images between processes, or None.
        inventories: Inventories, which are no manifests; see `open_source`.

    Raises:
        DesiredStateError: ``source.folder`` or ``api.folder`` leads out of the source.
    """

    def __init__(
        self,
        config: SourceConfig,
        base: Path,
        api: ApiConfig | None = None,
        digests: Path | None = None,
        inventories: Sequence[Path] = (),
    ) -> None:
        api = api or ApiConfig()
        tree = open_tree(config, base, inventories)
        self._place: Place
        if isinstance(tree, GitTree):
            self._place = GitPlace(tree, config)
        else:
            self._place = FolderPlace(tree)
        self._tree = tree
        version_of = blob_id if isinstance(tree, GitTree) else None
        self._overlay = Overlay(tree, version_of, Excluded(tree.root, inventories))
        checksums = ChecksumFiles(digests.with_name("image-checksums.json") if digests is not None else None)
        self._source = Source(self._overlay, image_files(config, base, digests), checksums)
        folder = str(PurePosixPath(inside(config.folder)) / inside(api.folder))
        rules = Rules(folder, api.git_only)
        self._hosts = Hosts(tree.root, inventories, self._overlay, rules)
        self._bench = Bench(self._overlay, rules, {HOST: self._hosts.make})
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._led = self._busy = False
        self._seen: _Seen | None = None
        self._good: DesiredState | None = None
        self._earlier: Callable[[], DesiredState | None] | None = partial(
            earlier_good, config, base, digests, inventories
        )
        self._search = threading.Lock()
        self._looks = 0
        self._tried = False
        self.on_group: Callable[[int], object] = lambda _count: None
        """Told how many wishes were written together."""

    # -- reading ------------------------------------------------------------------------------------

    def read(self) -> DesiredState:
        """The newest desired state that is right; what did not change is the identical object.

        A mistake of one person must stop nobody else: while the newest is refused, this is the last good
        one. What is wrong is in `trouble`.

        Raises:
            DesiredStateError: It is refused, with every mistake in it, and none was right before.
        """
        outcome = self._current().outcome
        if isinstance(outcome, DesiredState):
            return outcome
        good = self._last_good()
        if good is None:
            raise DesiredStateError(outcome.problems, hint=outcome.hint)
        return good

    def read_newest(self) -> DesiredState:
        """The newest desired state, right or not.

        Raises:
            DesiredStateError: It is refused, with every mistake in it.
        """
        outcome = self._current().outcome
        if isinstance(outcome, DesiredStateError):
            raise DesiredStateError(outcome.problems, hint=outcome.hint)
        return outcome

    @property
    def trouble(self) -> DesiredStateError | None:
        """Why the newest desired state was refused when it was looked at last; None if it was right."""
        seen = self._seen
        return seen.outcome if seen is not None and isinstance(seen.outcome, DesiredStateError) else None

    def _last_good(self) -> DesiredState | None:
        """The last state that was right; looked for once among earlier commits if this process saw none."""
        if self._good is None:
            with self._search:
                earlier, self._earlier = self._earlier, None
                found = earlier() if self._good is None and earlier is not None else None
                self._good = self._good or found
        return self._good

    def standing(self, key: str) -> Data | None:
        """An object as it stands in its file now, right or wrong: what a write finds. None: there is none.

        Args:
            key: ``Kind/name``.

        Raises:
            ConflictError: Nobody knows: a file that may have to do with it cannot be read.
        """
        with self._lock:
            self._newest()
            doubt = Doubt.of(self._source)
            self._bench.start(self._source.index())
            found = self._bench.standing(key)
            if found is None:
                doubt.require_known(key)
            return found

    def _current(self) -> _Seen:
        """What the newest look found."""
        self._place.glance()
        arrived = self._looks
        seen = self._seen
        if seen is None or not self._still(seen):
            with self._lock:
                seen = self._seen
                # Whoever held the lock may have looked after we came.
                if seen is None or seen.look <= arrived:
                    seen = self._look()
        return seen

    def text(self, key: str) -> str:
        """The object as it stands in its file, comments included.

        Args:
            key: ``Kind/name``.

        Raises:
            NotFoundError: There is no such object.
            DesiredStateError: Its file cannot be read.
        """
        with self._lock:
            self._look()
            file = self._source.index().file_of(key)
            text = self._overlay.text(file) if file is not None else None
        if file is None or text is None:
            raise NotFoundError(f"there is no {key.replace('/', ' ', 1)}")
        return document_text(text, key, file=file)

    def _still(self, seen: _Seen) -> bool:
        """Nothing can have changed since. Costs no process."""
        if not isinstance(self._tree, GitTree) or time.monotonic() - seen.at > _FRESH:
            return False
        return seen.revision == self._tree.head()

    def _newest(self) -> _Seen:
        """What is there, for a group to be made on. Only with the lock.

        Raises:
            DesiredStateError: There is no such folder, repository or ref.
        """
        seen = self._seen
        self._overlay.follow()
        if seen is None or self._tried or not self._still(seen):
            seen = self._look()
        self._tried = True  # from now on the source has what is only wished for
        return seen

    def _look(self) -> _Seen:
        """Look anew. Only with the lock."""
        self._looks += 1
        self._tried = False
        look, at = self._looks, time.monotonic()
        outcome: DesiredState | DesiredStateError
        revision = None
        try:
            revision = self._overlay.follow().revision
            self._good = outcome = self._source.read()
        except DesiredStateError as error:
            outcome = error
        seen = self._seen = _Seen(revision, at, look, outcome)
        return seen

    # -- writing ------------------------------------------------------------------------------------

    def write(self, wish: Write) -> Written:
        """Commit one change. Wishes of many threads are committed together, each in a commit of its own.

        Raises:
            DesiredStateError: The body is refused, with every mistake in it.
            NotFoundError: There is no such object.
            ConflictError: It is there already, or its file must not be changed here.
            PreconditionError: It has another version.
            UnavailableError: Git, or its remote, does not answer, or others were quicker all the time.
        """
        if wish.key.partition("/")[0] == HOST:
            self._require_files_of_ansible()
        job = _Job(wish)
        with self._queue:
            self._waiting.append(job)
            leads, self._led = not self._led, True
        if not leads:
            job.woken.wait()
        if job.answer is None:
            self._lead(job)
        if job.answer is None or isinstance(job.answer, ReconcilerError):
            raise job.answer or UnavailableError("the change was given up", hint="try again")
        return job.answer

    def _lead(self, first: _Job) -> None:
        """Write for all who wait, `first` among them, and leave the lead to one who came meanwhile."""
        group: list[_Job] = []
        try:
            if self._busy:
                time.sleep(_GATHER)
            with self._lock:
                with self._queue:
                    group += [self._waiting.popleft() for _ in range(min(_GROUP, len(self._waiting)))]
                self._busy = len(group) > 1
                self._write_group(group)
        finally:
            with self._queue:
                if not group:  # interrupted
                    self._waiting.remove(first)
                self._led = bool(self._waiting)
                if self._led:
                    self._waiting[0].woken.set()
            for job in group:
                job.woken.set()

    def close(self) -> None:
        """Leave nothing behind that says who writes; whoever writes again just goes on."""
        with self._lock:
            self._place.close()

    def host(self, name: str) -> Data:
        """A host's own variables as they stand in the inventory; those of its groups are not among them.

        Raises:
            NotFoundError: It stands in no inventory file that can be changed here.
            ConflictError: There is no such file: only YAML that lies in the source can be changed.
        """
        with self._lock:
            self._require_files_of_ansible()
            self._look()
            return self._hosts.data(name)

    def write_host(self, wish: Write) -> Written:
        """Change a host of the inventory, by a commit in the same line as all others.

        Args:
            wish: Its key is ``Host/name``, its body the host's variables (or those that change), and
                its version that of `host`.

        Raises:
            DesiredStateError: The variables are refused, with every mistake in them.
            NotFoundError: There is no such host.
            ConflictError: It is there already; or the inventory is no YAML file in the source.
            PreconditionError: It has another version.
        """
        if wish.key.partition("/")[0] != HOST:
            raise UsageError(f"{wish.key} is no host")
        return self.write(wish)

    def _require_files_of_ansible(self) -> None:
        """Refuse where Ansible would not see what is committed: it reads files."""
        if isinstance(self._place, GitPlace) and not self._place.checked_out():
            raise ConflictError(
                "hosts cannot be changed here: Ansible reads the inventory's file, and the branch that the "
                "source follows is not checked out there",
                hint="change the inventory in git, and bring its file up to date",
            )

    def source_with(self, wish: Write) -> Wished:
        """The desired state with the change, not committed; raises as `write` does."""
        with self._lock:
            seen = self._newest()
            try:
                made = gather(self._source, self._bench, [wish], seen.problems)[0]
                if isinstance(made, ReconcilerError):
                    raise made
                return Wished(self._whole(), self._source, _revision(seen))
            finally:
                self._bench.begin()

    def _whole(self) -> DesiredState:
        """What is there with what is wished for, which adds no mistake. Only with the lock."""
        try:
            return self._source.read()
        except DesiredStateError as error:
            hint = "the change itself can be made; its plan needs a desired state without these mistakes"
            raise DesiredStateError(error.problems, hint=hint) from error

    def _write_group(self, group: Sequence[_Job]) -> None:
        """Give every wish of a group its answer. Only with the lock."""
        self.on_group(len(group))
        why: ReconcilerError = UnavailableError("the change was given up in the middle", hint="try again")
        try:
            with self._place.turn():
                self._until_done(group)
        except ReconcilerError as error:
            why = error
        finally:
            self._bench.begin()
            for job in group:
                job.answer = job.answer or why

    def _until_done(self, group: Sequence[_Job]) -> None:
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                time.sleep(random.uniform(0, min(0.1, 0.005 * attempt)))  # noqa: S311 - spreads rivals
            left = [job for job in group if job.answer is None]
            if not left:
                return
            with suppress(MovedError):
                self._attempt(left)
        raise UnavailableError("others changed the desired state all the time", hint="try again")

    def _attempt(self, jobs: Sequence[_Job]) -> None:
        """Make the wishes on what is there now, and put them there.

        Raises:
            MovedError: Not all of them have an answer: it is not there any more, or some of them failed.
        """
        seen = self._newest()
        outcomes = gather(self._source, self._bench, [job.wish for job in jobs], seen.problems)
        steps = [one.step for one in outcomes if isinstance(one, Made) and one.step is not None]
        revisions: list[str] = []
        if steps:
            try:
                revisions = self._place.put(seen.revision, steps)
            except InTheWayError as error:
                _refuse(jobs, outcomes, error)
                raise MovedError from error
        elif any(isinstance(one, ReconcilerError) for one in outcomes):
            self._place.newest()  # nobody is refused for what was true a while ago
            if seen.revision is not None and self._tree.listing().revision != seen.revision:
                raise MovedError
        now = self._look()
        if not seen.revision:
            revisions = [_revision(now)] * len(steps)
        _answer(jobs, outcomes, _revision(seen), revisions)


def _answer(
    jobs: Sequence[_Job], outcomes: Sequence[Outcome], revision: str, revisions: Sequence[str]
) -> None:
    """Tell everybody; a wish that changes nothing has the revision of the one before it."""
    made = iter(revisions)
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, ReconcilerError):
            job.answer = outcome
            continue
        if outcome.step is not None:
            revision = next(made)
        job.answer = Written(job.wish.key, revision, outcome.before, outcome.after, outcome.file)


def _refuse(jobs: Sequence[_Job], outcomes: Sequence[Outcome], error: InTheWayError) -> None:
    """Refuse the wishes for files that cannot be changed; all, if it is not known which."""
    left = [
        (job, error.files[one.file])
        for job, one in zip(jobs, outcomes, strict=True)
        if isinstance(one, Made) and one.step is not None and one.file in error.files
    ]
    for job, why in left or [(job, next(iter(error.files.values()))) for job in jobs]:
        job.answer = why


def _revision(seen: _Seen) -> str:
    if seen.revision is not None:
        return seen.revision
    return seen.outcome.revision if isinstance(seen.outcome, DesiredState) else ""


class Wished:
    """The desired state as it would be, for whoever plans; looks like a `Source`.

    Args:
        state: What would be desired.
        source: Where the files around it are.
        revision: The revision that it is made on.
    """

    trouble: DesiredStateError | None = None
    warnings: tuple[str, ...] = ()

    def __init__(self, state: DesiredState, source: Source, revision: str) -> None:
        self._state = state
        self._source = source
        self._revision = revision

    def read(self) -> DesiredState:
        """See `Source`."""
        return self._state

    def fetch(self) -> bool:
        """See `Source`; it never moves."""
        return False

    def changed(self) -> bool:
        """See `Source`; it never does."""
        return False

    def place(self, revision: str, target: Path) -> Path:  # noqa: ARG002 - what is wished for is no revision
        """See `Source`: the files of the revision that it is made on."""
        return self._source.place(self._revision, target)
