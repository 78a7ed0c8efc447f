"""Change a field of a manifest in a file that people wrote: everything else stays byte for byte.

The text is spliced at the places that the YAML parser gives, never dumped anew, so comments, order, quotes
and line ends survive.  What was written is read again before anybody gets it: the result says what was
wanted and nothing else changed, or the change is refused.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast

from reconciler.desired.splice import Splicer, UnfitError
from reconciler.desired.writer import to_yaml
from reconciler.desired.yaml_file import Document, documents, show_path, to_data
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.manifest import Object

Path = tuple[str | int, ...]
"""Where a value stands: ``("spec", "disks", 0, "size")``; a last ``END`` in a list means a new item."""

WHOLE: Final = ""
"""The key of the only document of a text that is no manifest, such as an inventory."""

END: Final = "-"
"""JSON Pointer's word for the place after a list's last item."""


class Remove:
    """The value of a field that goes."""


REMOVE: Final = Remove()

_DOCUMENT = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_BOM = "\ufeff"


def edit(text: str, key: str, changes: Mapping[Path, object], *, file: str = "the manifest") -> str:
    """The text with some fields of one object changed.

    Args:
        text: YAML, one or many documents.
        key: ``Kind/name`` of the object.
        changes: Path to value (plain data), or to `REMOVE`.  Mappings on the way that are missing are made.
            A field that has the value already is left alone.
        file: What to call the text in messages.

    Raises:
        DesiredStateError: No such object, or more than one; or a value is shared through an anchor or a merge
            key, so that the change would reach other places or cannot be made here.
    """
    return edit_all(text, key, changes.items(), file=file)


def edit_all(
    text: str, key: str, changes: Iterable[tuple[Path, object]], *, file: str = "the manifest"
) -> str:
    """The same for changes in a certain order, of which several may be new items of one list."""
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    for path, value in changes:
        text = _change(text, key, path, value, file)
    return bom + text


def add(text: str, one: Object) -> str:
    """The text with one more manifest, as a document of its own at the end."""
    if not text.strip():
        return text + to_yaml(one)
    newline = "\r\n" if "\r\n" in text else "\n"
    end = "" if text.endswith("\n") else newline
    return text + end + f"---\n{to_yaml(one)}".replace("\n", newline)


def drop(text: str, key: str, *, file: str = "the manifest") -> str:
    """The text without one object: its document goes, with the comments in it, and all others stay.

    Raises:
        DesiredStateError: No such object, or more than one.
    """
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    found = list(documents(text.encode(), file))
    at = _find(found, key, file)
    begin, end = _span(text, found[at])
    made = text[:begin] + text[end:]
    wanted = [_data(each) for each in found if each is not found[at]]
    if not _same([_data(each) for each in documents(made.encode(), file)], wanted):
        raise _refused(found[at], (), "it is written in a way that cannot be removed safely", key)
    return bom + made


def read(text: str, key: str, *, file: str = "the manifest") -> dict[str, object]:
    """An object of the text as plain data.

    Raises:
        DesiredStateError: There is none of that key, or more than one.
    """
    found = list(documents(text.encode(), file))
    at = _find(found, key, file)
    return cast("dict[str, object]", _data(found[at]))


def line_of(text: str, key: str) -> int:
    """1-based line where an object's document begins; 0 if there is none, or none that can be read."""
    try:
        found = list(documents(text.removeprefix(_BOM).encode(), ""))
        return next((each.line for each in found if _key(_data(each)) == key), 0)
    except DesiredStateError:
        return 0


def document_text(text: str, key: str, *, file: str = "the manifest") -> str:
    """An object as it stands in the text, with its comments, without the marks that part documents.

    Raises:
        DesiredStateError: There is none of that key, or more than one.
    """
    text = text.removeprefix(_BOM)
    found = list(documents(text.encode(), file))
    begin, end = _span(text, found[_find(found, key, file)])
    return _DOCUMENT.sub("", text[begin:end], count=1).lstrip("\r\n")


def _span(text: str, document: Document) -> tuple[int, int]:
    """Where a document begins, with the comments and the mark before it, and where the next one does."""
    begin = int(document.node.start_mark.index)
    # Three dashes at the beginning of a line part documents wherever they stand, even in a text block.
    marks = [match.start() for match in _DOCUMENT.finditer(text)]
    before = [mark for mark in marks if mark <= begin]
    after = [mark for mark in marks if mark > begin]
    return before[-1] if before else 0, after[0] if after else len(text)


def _change(text: str, key: str, path: Path, value: object, file: str) -> str:
    found = list(documents(text.encode(), file))
    at = _find(found, key, file)
    document = found[at]
    before = [_data(each) for each in found]
    wanted = [*before]
    try:
        wanted[at] = _changed(before[at], path, value)
        if _same(wanted, before):
            return text
        made = Splicer(text, document.node).change(
            path, value if value is not REMOVE else None, value is REMOVE
        )
        after = [_data(each) for each in documents(made.encode(), file)]
    except UnfitError as error:
        raise _refused(document, path, str(error), key) from error
    except DesiredStateError as error:
        raise _refused(document, path, "it is written in a way that cannot be changed safely", key) from error
    if not _same(after, wanted):
        raise _refused(document, path, "it is written in a way that cannot be changed safely", key)
    return made


def _find(found: list[Document], key: str, file: str) -> int:
    """Index of the document that is the object."""
    if key == WHOLE:
        if len(found) != 1:
            raise DesiredStateError([Problem(file, 0, 0, "", "it is not one document")])
        return 0
    places = [at for at, document in enumerate(found) if _key(_data(document)) == key]
    if not places:
        raise DesiredStateError([Problem(file, 0, 0, "", f"there is no {key.replace('/', ' ', 1)} in it")])
    if len(places) > 1:
        message = f"{key.replace('/', ' ', 1)} is declared twice in it"
        raise DesiredStateError([Problem(file, found[places[1]].line, 1, "", message, key)])
    return places[0]


def _key(data: object) -> str:
    if not isinstance(data, dict) or not isinstance(data.get("metadata"), dict):
        return ""
    return f"{data.get('kind')}/{data['metadata'].get('name')}"


def _data(document: Document) -> object:
    problems: list[Problem] = []
    data = to_data(document, problems)
    if problems:
        raise DesiredStateError(problems)
    return data


def _same(one: object, other: object) -> bool:
    """Equal as JSON: unlike Python, it does not take 1 for true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _changed(data: object, path: Path, value: object) -> object:
    """The data with the change made: what the edited text must say."""
    if not path:
        raise UnfitError("a whole document cannot be replaced")
    whole = copy.deepcopy(data)
    place = whole
    for at, part in enumerate(path[:-1]):
        if value is REMOVE and isinstance(place, dict) and not isinstance(place.get(part), dict | list):
            return data
        place = _step(place, part, path[at + 1])
    last = path[-1]
    if isinstance(place, list):
        _set_item(place, last, value)
    elif not isinstance(place, dict) or not isinstance(last, str):
        raise UnfitError("what is there is no mapping")
    elif value is REMOVE:
        place.pop(last, None)
    else:
        place[last] = value
    return whole


def _step(place: object, part: str | int, following: str | int) -> object:
    """One step down; what is missing or null is made."""
    if isinstance(place, list):
        if not isinstance(part, int) or not 0 <= part < len(place):
            raise UnfitError(f"the list has no item {part}")
    elif not isinstance(place, dict) or not isinstance(part, str):
        raise UnfitError("what is there is no mapping")
    elif place.get(part) is None:
        place[part] = [] if following == END else {}
    return place[part]  # type: ignore[index]  # both were checked


def _set_item(items: list[object], part: str | int, value: object) -> None:
    if part == END and value is not REMOVE:
        items.append(value)
    elif not isinstance(part, int) or not 0 <= part < len(items):
        raise UnfitError(f"the list has no item {part}")
    elif value is REMOVE:
        del items[part]
    else:
        items[part] = value


def _refused(document: Document, path: Path, why: str, key: str) -> DesiredStateError:
    problem = document.problem([part for part in path if part != END], why, owner=key)
    return DesiredStateError(
        [problem],
        hint=f"change {show_path(path)} of {key.replace('/', ' ', 1) or 'it'} by hand, in an editor",
    )
