"""A change of the desired state before it is saved: read whole and valid, so that it can be planned first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.desired.commit import NewText, save
from reconciler.desired.edit import Path as Place
from reconciler.desired.edit import add, edit
from reconciler.desired.repository.overlay import Overlay
from reconciler.desired.source import Source, image_files, open_tree
from reconciler.desired.tree import Content, Excluded
from reconciler.errors import DesiredStateError, Problem, ReconcilerError
from reconciler.model.config import SourceConfig
from reconciler.model.manifest import Object


class Draft:
    """One file of a source, changed but not saved.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
        digests: A file that remembers the digests of images, or None.
        exclude: What is no manifest, as for `open_source`.
    """

    def __init__(
        self, config: SourceConfig, base: Path, digests: Path | None = None, exclude: Sequence[Path] = ()
    ) -> None:
        self._config = config
        self._base = base
        self._digests = digests
        self._exclude = exclude
        self._tree = open_tree(config, base, exclude)
        if self._tree.fetch() or self._tree.warnings:
            self._require_fetched()
        self._file = ""
        self._before: str | None = None
        self._text = ""

    def _require_fetched(self) -> None:
        """A change is made on the newest state, or not at all."""
        if self._tree.warnings:
            raise ReconcilerError(self._tree.warnings[0], hint="the change was not made; try again later")

    @property
    def changes_nothing(self) -> bool:
        """True if the file says already what it shall."""
        return self._text == self._before

    def edit(self, file: str, key: str, changes: Mapping[Place, object]) -> None:
        """Change fields of an object.

        Args:
            file: Where it stands, relative to the source's root.
            key: ``Kind/name``.
            changes: As for `reconciler.desired.edit.edit`.

        Raises:
            DesiredStateError: It cannot be changed there.
        """
        self._begin(file)
        self._text = edit(self._text, key, changes, file=file)

    def add(self, file: str, one: Object) -> None:
        """Add a manifest to a file, which is made if there is none."""
        self._begin(file, new=True)
        self._text = add(self._text, one)

    def source(self) -> Source:
        """The desired state with the change."""
        images = image_files(self._config, self._base, self._digests)
        overlay = Overlay(self._tree, excluded=Excluded(self._tree.root, self._exclude))
        overlay.follow()
        overlay.put({self._file: self._text.encode()})
        return Source(overlay, images)

    def save(self, message: str, author: str | None = None) -> str:
        """Save the change, and say where it is.

        Args:
            message: Why, for a commit.
            author: ``Name <mail>`` for a commit, or None.

        Raises:
            ReconcilerError: It cannot be saved; nothing was changed.
        """
        return save(self._config, self._base, NewText(self._file, self._text, self._before, message, author))

    def _begin(self, file: str, *, new: bool = False) -> None:
        """Read the file, once; a change touches one file, so that it is saved whole or not at all."""
        if self._file not in ("", file):
            raise ReconcilerError(
                f"this changes two files, {self._file} and {file}, which cannot be saved as one",
                hint="change them one after the other",
            )
        if self._file:
            return
        self._file = file
        there = file in self._tree.listing().files
        if there:
            self._before = _text(file, next(iter(self._tree.read([file])))[1])
        elif not new:
            raise DesiredStateError([Problem(file, 0, 0, "", "it is not there any more")])
        self._text = self._before or ""


def _text(file: str, content: Content) -> str:
    if isinstance(content, Problem):
        raise DesiredStateError([content])
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DesiredStateError([Problem(file, 0, 0, "", "the file is not UTF-8")]) from error
