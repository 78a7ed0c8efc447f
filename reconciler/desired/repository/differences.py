"""What has to change for an object to say something else: as little as possible. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from reconciler.desired.edit import END, REMOVE, Path

Change = tuple[Path, object]
"""Where, and the new value or `REMOVE`."""


def differences(before: object, after: object, path: Path = ()) -> Iterator[Change]:
    """The changes that make `before` say `after`, in the order in which they have to be made."""
    if same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key, value in after.items():
            if key in before:
                yield from differences(before[key], value, (*path, key))
            else:
                yield (*path, key), value
        yield from (((*path, key), REMOVE) for key in before if key not in after)
    elif isinstance(before, list) and isinstance(after, list) and before and after:
        yield from _of_lists(before, after, path)
    else:
        yield path, after


def merged(data: object, patch: object) -> object:
    """The data with a merge patch (RFC 7396): mappings are merged, null removes, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    whole = dict(data) if isinstance(data, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = merged(whole.get(key), value)
    return whole


def same(one: object, other: object) -> bool:
    """Equal as JSON: unlike Python, it does not take 1 for true."""
    return one == other and _text(one) == _text(other)


def _of_lists(before: list[object], after: list[object], path: Path) -> Iterator[Change]:
    """Items that have a name are the same item if it is the same name; other items are by their place."""
    pairs = _pairs(before, after)
    if pairs is None:
        yield path, after
        return
    for old, new in pairs:
        yield from differences(before[old], after[new], (*path, old))
    kept = {old for old, _ in pairs}
    yield from (((*path, at), REMOVE) for at in reversed(range(len(before))) if at not in kept)
    yield from (((*path, END), item) for item in after[len(pairs) :])


def _pairs(before: Sequence[object], after: Sequence[object]) -> list[tuple[int, int]] | None:
    """Which item becomes which; None if the whole list has to be written anew.

    New items can only be put at the end, and no item can move.
    """
    words, others = _identities(before), _identities(after)
    if words is None or others is None:
        words, others = [_text(item) for item in before], [_text(item) for item in after]
        if len(words) == len(others):
            return [(at, at) for at in range(len(words))]
    places = {word: at for at, word in enumerate(words)}
    pairs = [(places[word], at) for at, word in enumerate(others) if word in places]
    in_order = pairs == sorted(pairs) and len({old for old, _ in pairs}) == len(pairs)
    at_the_front = [new for _, new in pairs] == list(range(len(pairs)))
    return pairs if pairs and in_order and at_the_front else None


def _identities(items: Sequence[object]) -> list[str] | None:
    """The names of named items, each there once."""
    names = [item.get("name") for item in items if isinstance(item, Mapping)]
    found = [name for name in names if isinstance(name, str)]
    return found if len(found) == len(items) == len(set(found)) else None


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
