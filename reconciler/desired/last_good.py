"""For a daemon: while the desired state is refused, the last one that was accepted is kept up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.desired.checksums import ChecksumFiles
from reconciler.desired.git import GitError, GitTree, run_git
from reconciler.desired.source import Source, image_files, open_tree
from reconciler.errors import DesiredStateError
from reconciler.model.config import SourceConfig
from reconciler.model.desired import DesiredState

_EARLIER = 50
"""Commits that are looked at for one that is right."""


def earlier_good(
    config: SourceConfig, base: Path, digests: Path | None = None, inventories: Sequence[Path] = ()
) -> DesiredState | None:
    """The state of the newest commit before this one that is right, for a process that knows none yet.

    Only commits of the branch's own line are looked at: what was merged into it was never in force.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
        digests: See `open_source`.
        inventories: See `open_source`.

    Returns:
        None: There is none among the last ones, or the source is no git repository.
    """
    tree = open_tree(config, base, inventories)
    if not isinstance(tree, GitTree):
        return None
    checksums = ChecksumFiles(digests.with_name("image-checksums.json") if digests is not None else None)
    source = Source(tree, image_files(config, base, digests), checksums)
    asked = ("rev-list", "--first-parent", "--skip=1", f"--max-count={_EARLIER}")
    try:
        commits = run_git(tree.root, *asked, tree.head()).decode().split()
    except (GitError, DesiredStateError):
        return None
    for commit in commits:
        tree.pin(commit)
        with suppress(DesiredStateError):
            return source.read()
    return None


class LastGood:
    """A source that answers with the last accepted state while a newer one is refused.

    A mistake in one file must stop changes, not repairs.  Before the first accepted state there is
    nothing to fall back on but what `earlier` knows, or the refusal is the answer.

    Args:
        source: Where the desired state really comes from.
        earlier: Asked once for a state that was right before; see `earlier_good`.
    """

    def __init__(self, source: Source, earlier: Callable[[], DesiredState | None] = lambda: None) -> None:
        self._source = source
        self._earlier = earlier
        self._good: DesiredState | None = None
        self.trouble: DesiredStateError | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._source.warnings

    def fetch(self) -> bool:
        """See `Source`."""
        return self._source.fetch()

    def changed(self) -> bool:
        """See `Source`; a source that is gone for now did change, unless that is known already."""
        try:
            return self._source.changed()
        except DesiredStateError:
            return self.trouble is None

    def place(self, revision: str, target: Path) -> Path:
        """See `Source`."""
        return self._source.place(revision, target)

    def read(self) -> DesiredState:
        """The desired state, or the last good one, with what is wrong now in `trouble`.

        Raises:
            DesiredStateError: It is refused, and none was accepted before.
        """
        try:
            self._good = self._source.read()
        except DesiredStateError as error:
            if self._good is None:
                self._good = self._earlier()
            if self._good is None:
                raise
            self.trouble = error
            return self._good
        self.trouble = None
        return self._good
