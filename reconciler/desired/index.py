"""Where each object of a source stands, for those who change it."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.desired.parsed import ParsedFile
from reconciler.model.desired import Origin
from reconciler.model.manifest import Object


class Index:
    """The objects of a source at one moment; what happens to the source later does not show.

    Args:
        files: By path.
        origins: ``Kind/name`` to its place, if all files are right; None if they are not.
    """

    def __init__(self, files: Mapping[str, ParsedFile], origins: Mapping[str, Origin] | None) -> None:
        self._files = files
        self._origins = origins
        self._places: dict[str, str] | None = None

    def file_of(self, key: str) -> str | None:
        """The file in which ``Kind/name`` stands, right or wrong; of two the first."""
        if self._origins is not None:
            origin = self._origins.get(key)
            return origin.file if origin is not None else None
        if self._places is None:
            self._places = {}
            for path, file in self._files.items():
                for found in (*(key for key, _ in file.origins), *file.broken):
                    self._places.setdefault(found, path)
        return self._places.get(key)

    def manifest(self, key: str) -> Object | None:
        """The object as it was written; None if there is none, or a wrong one."""
        file = self._files.get(self.file_of(key) or "")
        return dict(file.objects).get(key) if file is not None else None
