from __future__ import annotations

from collections.abc import Callable

from reconciler.store.sql import SqlStore

OLD, NEW = (
    ("h1", "default", "debian.0123456789abcdef.qcow2"),
    ("h1", "default", "debian.fedcba9876543210.qcow2"),
)


def test_when_an_image_was_needed_last(store: SqlStore, open_again: Callable[[], SqlStore]) -> None:
    store.note_image_uses([OLD, OLD, NEW], 1.0)
    store.note_image_uses([NEW], 2.5)
    store.note_image_uses([], 3.0)
    assert open_again().image_uses() == {OLD: 1.0, NEW: 2.5}
    before = store.image_uses()
    assert store.image_uses() is before
    store.forget_images([OLD, ("h2", *OLD[1:])])
    assert open_again().image_uses() == store.image_uses() == {NEW: 2.5}
