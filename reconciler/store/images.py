"""When the versions of images that we brought to hosts were needed last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from reconciler.model.placement import ImageKey
from reconciler.store import schema
from reconciler.store.session import Session, delete_rows, replace_rows


class Images(Session):
    """The part of the store that remembers images."""

    def image_uses(self) -> Mapping[ImageKey, float]:
        """See `Store.image_uses`."""
        return self._snapshot("image_uses", _load)

    def note_image_uses(self, keys: Iterable[ImageKey], now: float) -> None:
        """See `Store.note_image_uses`."""
        rows = [_row(key) | {"needed": now} for key in sorted(set(keys))]
        if rows:
            with self._writing() as connection:
                replace_rows(connection, schema.image_uses, rows)
                self._forget("image_uses")

    def forget_images(self, keys: Iterable[ImageKey]) -> None:
        """See `Store.forget_images`."""
        known = self.image_uses()
        gone = [_row(key) for key in keys if key in known]
        if gone:
            with self._writing() as connection:
                delete_rows(connection, schema.image_uses, gone)
                self._forget("image_uses")


def _row(key: ImageKey) -> dict[str, object]:
    return dict(zip(("host", "pool", "volume"), key, strict=True))


def _load(connection: Connection) -> Mapping[ImageKey, float]:
    found = connection.execute(select(schema.image_uses))
    return {(row.host, row.pool, row.volume): row.needed for row in found}
