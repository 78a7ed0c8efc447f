"""Wishes of many callers -> those that are right together, and for each of the others why it is not.

A desired state that somebody else broke can still be written: a wish is refused for the mistakes that it
adds, never for those that are there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from reconciler.desired.check import Catalog, check
from reconciler.desired.repository.wishes import BODY, Bench, Made, body_problem
from reconciler.desired.source import Source
from reconciler.errors import ConflictError, DesiredStateError, Problem, ReconcilerError
from reconciler.model.manifest import KINDS
from reconciler.model.write import Write

Outcome = Made | ReconcilerError


def gather(
    source: Source, bench: Bench, wishes: Sequence[Write], there: Sequence[Problem] = ()
) -> list[Outcome]:
    """What each wish comes to, on what the ones before it left. The bench has all that were granted.

    The whole is read once.  Only if it is wrong, the first wish that makes it so is looked for by halves.

    Args:
        source: What it read last is what the first wish finds.
        bench: Where the wishes are made.
        wishes: In the order in which they are committed.
        there: Mistakes that `source` found.
    """
    bench.start(source.index())
    doubt = Doubt.of(source)
    out: list[Outcome | None] = [None] * len(wishes)
    right = 0
    while True:
        _make_all(bench, wishes, out, doubt)
        new = added(there, mistakes(source))
        if not new:
            return [one for one in out if one is not None]
        right, new = _first_wrong(source, bench, out, right, there)
        guilty = out[right]
        if not isinstance(guilty, Made):  # nothing was made there: the source itself moved or broke
            raise DesiredStateError(new)
        out[right] = _refusal(guilty, new)
        out[right + 1 :] = [None] * (len(wishes) - right - 1)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is not known of the desired state before a group, because somebody's file cannot be read.

    Attributes:
        catalog: What manifests refer to.
        files: Path and text of files that may hold objects that nobody knows of.
    """

    catalog: Catalog
    files: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(source: Source) -> Doubt:
        """What `source` found at its last read."""
        return Doubt(replace(source.catalog, partial=False), source.unreadable())

    def check(self, made: Made) -> None:
        """Refuse what is wrong for sure, and what may be wrong for all that is known.

        Raises:
            DesiredStateError: The object refers to what is not there.
            ConflictError: A file that cannot be read may have to do with it.
        """
        if made.step is None:
            return
        key = made.wish.key
        wrong = check(made.manifest, self.catalog) if made.manifest is not None else []
        if wrong:
            raise DesiredStateError([body_problem(key, each) for each in wrong])
        if made.after is None or made.before is None:
            self.require_known(key)

    def require_known(self, key: str) -> None:
        """Refuse an object that may stand in a file that cannot be read.

        Raises:
            ConflictError: It may.
        """
        kind, _, name = key.partition("/")
        for file, text in self.files if kind in KINDS else ():
            named = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text)
            if named:
                raise ConflictError(
                    f"{file} cannot be read, and may have to do with {kind} {name}",
                    hint=f"mend {file} in git first",
                    file=file,
                )


def mistakes(source: Source) -> tuple[Problem, ...]:
    """Every mistake of the desired state as it is."""
    try:
        source.read()
    except DesiredStateError as error:
        return error.problems
    return ()


def added(before: Iterable[Problem], after: Iterable[Problem]) -> list[Problem]:
    """Mistakes that were not there before, wherever their lines moved to."""
    known = Counter(map(_identity, before))
    new = []
    for problem in after:
        identity = _identity(problem)
        if known[identity]:
            known[identity] -= 1
        else:
            new.append(problem)
    return new


def _identity(problem: Problem) -> tuple[str, ...]:
    message = re.sub(r":\d+\b", "", problem.message)
    return problem.file, problem.object, problem.path, message


def _make_all(bench: Bench, wishes: Sequence[Write], out: list[Outcome | None], doubt: Doubt) -> None:
    """Make every wish that has no answer yet on top of those that were granted."""
    bench.begin()
    for at, wish in enumerate(wishes):
        known = out[at]
        if isinstance(known, Made):
            bench.take(known)
        elif known is None:
            try:
                made = bench.make(wish)
                doubt.check(made)
            except ReconcilerError as error:
                out[at] = error
            else:
                bench.take(made)
                out[at] = made


def _first_wrong(
    source: Source, bench: Bench, out: Sequence[Outcome | None], low: int, there: Sequence[Problem]
) -> tuple[int, list[Problem]]:
    """The first wish with which the whole is wrong, and its mistakes; those before `low` are right."""
    high = len(out) - 1
    while True:
        middle = (low + high) // 2
        bench.begin()
        for one in out[: middle + 1]:
            if isinstance(one, Made):
                bench.take(one)
        new = added(there, mistakes(source))
        if low >= high:
            return low, new
        low, high = (low, middle) if new else (middle + 1, high)


def _refusal(made: Made, new: Sequence[Problem]) -> DesiredStateError:
    """The mistakes that a wish adds; those in its own object are told of its body."""
    key = made.wish.key
    told = [
        Problem(BODY, 0, 0, one.path, one.message, key)
        if one.object == key and one.file == made.file and made.after is not None
        else one
        for one in new
    ]
    return DesiredStateError(told)
