"""A plain folder: files are put there one after the other, under a lock that all programs take."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reconciler.desired.commit import content_of, write_file
from reconciler.desired.repository.place import MovedError, Step, files_of
from reconciler.desired.tree import Tree
from reconciler.errors import ConflictError


class FolderPlace:
    """See `Place`. A folder keeps no history: who did what stands in the audit record alone.

    Args:
        tree: The folder.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Place`; here it is also what keeps programs apart."""
        descriptor = os.open(self.tree.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def newest(self) -> None:
        """See `Place`."""

    def glance(self) -> None:
        """See `Place`."""

    def close(self) -> None:
        """See `Place`."""

    def put(self, revision: str | None, steps: Sequence[Step]) -> list[str]:  # noqa: ARG002
        """See `Place`. People take no lock, so each file is compared before it is replaced."""
        changes = list(files_of(steps))
        root = self.tree.root
        try:
            for file, before, _ in changes:
                if content_of(root / file) != before:
                    raise MovedError
            for file, _, after in changes:
                path = (root / file).resolve()  # a symbolic link stays one
                if after is None:
                    path.unlink(missing_ok=True)
                else:
                    write_file(path, after)
        except OSError as error:
            raise ConflictError(
                f"cannot write {error.filename}: {error.strerror}", file=str(error.filename or "")
            ) from error
        return [""] * len(steps)
