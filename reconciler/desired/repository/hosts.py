"""A wish to change a host of the inventory -> the inventory file's new text, or why not.

Ansible runs what an inventory says: a template is evaluated, arguments of ssh may name a program, and so may
a libvirt URI.  Who may add hosts need not be one who may run programs here, so that is left to git.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.decode import Mistake
from reconciler.desired.edit import REMOVE, WHOLE, edit_all
from reconciler.desired.edit import Path as Place
from reconciler.desired.edit import read as read_document
from reconciler.desired.host_vars import PREFIX, make_host
from reconciler.desired.repository.differences import Change as Edit
from reconciler.desired.repository.differences import differences, merged
from reconciler.desired.repository.overlay import Overlay
from reconciler.desired.repository.place import Step
from reconciler.desired.repository.wishes import Made, Rules, body_problem
from reconciler.errors import ConflictError, DesiredStateError, NotFoundError, PreconditionError
from reconciler.model.write import ANY, Change, Data, Write, version_of

KIND = "Host"
"""In the key of a host; no manifest has this kind."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
_WORD = re.compile(r"[A-Za-z0-9_./:%~@][A-Za-z0-9_./:%~@-]*")
_RANGE = re.compile(r"\\\[[^\]]*\\\]")
_PLAIN = frozenset(
    [
        "ansible_host",
        "ansible_port",
        "ansible_user",
        "ansible_ssh_private_key_file",
        "ansible_private_key_file",
    ]
)
_TEMPLATE = re.compile(r"\{[{%#]")
_RUNS = re.compile(r"^[a-z0-9]+\+ext:|[?&](command|netcat|proxy)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Where:
    """Where a host stands.

    Attributes:
        file: Relative to the source's root.
        text: Of the file.
        places: Each place of it; the first one has its variables.
        data: Its variables.
    """

    file: str
    text: str
    places: tuple[Place, ...]
    data: Data


class Hosts:
    """The inventory files of a source, as far as they are YAML and lie in it.

    Args:
        root: The source's root.
        inventories: Files and folders that Ansible reads; a relative path starts at `root`.
        overlay: The files.
        rules: What may be written where.
    """

    def __init__(self, root: Path, inventories: Sequence[Path], overlay: Overlay, rules: Rules) -> None:
        self._root = root
        self._inventories = tuple(inventories)
        self._overlay = overlay
        self._rules = rules

    def data(self, name: str) -> Data:
        """A host's own variables, as they stand in the inventory file; those of groups are not among them.

        Raises:
            NotFoundError: It is in none of the files that can be changed here.
            ConflictError: There is no such file, or it cannot be read.
        """
        found = self._find(name)
        if not isinstance(found, _Where):
            raise NotFoundError(f"there is no host {name!r} in {found[0]}")
        return found.data

    def make(self, wish: Write) -> Made:
        """Make one wish; see `Bench.make`."""
        name = wish.key.partition("/")[2]
        found = self._find(name)
        there = found if isinstance(found, _Where) else None
        _check_presence(wish, name, there)
        file, text = (there.file, there.text) if there is not None else found[:2]  # type: ignore[index]
        self._rules.require_open(file, "", wish.key)
        after = _wanted(wish, name, there.data if there is not None else {})
        edits = list(_edits(name, there, after))
        try:
            made = edit_all(text, WHOLE, edits, file=file) if text.strip() else _new(name, after)
        except DesiredStateError as error:
            raise _conflict(file, error, f"host {name} cannot be changed") from error
        step = Step(file, text, made, wish.message, wish.author) if made != text else None
        return Made(wish, step, file, there.data if there else None, None, after)

    def _find(self, name: str) -> _Where | tuple[str, str]:
        """Where a host stands; or the file and text where a new one belongs."""
        first: tuple[str, str] | None = None
        for file in self._files():
            text = self._overlay.text(file)
            if text is None:
                continue
            try:
                data = read_document(text, WHOLE, file=file) if _says_something(text) else {}
            except DesiredStateError as error:
                raise _conflict(file, error, "the inventory cannot be changed") from error
            if "plugin" in data:
                continue
            places = [(place, data) for place, data in _places(data) if _same_host(place, name, file)]
            if places:
                places.sort(key=lambda each: not each[1])  # where it has variables comes first
                return _Where(file, text, tuple(place for place, _ in places), places[0][1])
            first = first or (file, text)
        if first is None:
            told = ", ".join(map(str, self._inventories)) or "none"
            raise ConflictError(
                f"hosts cannot be changed here: the inventory ({told}) is no YAML file in the desired state",
                hint="put a YAML inventory into the source's folder or repository and name it as `inventory`",
            )
        return first

    def _files(self) -> Iterator[str]:
        """Inventory files in YAML that lie in the source."""
        top = os.path.realpath(self._root)
        for inventory in self._inventories:
            path = os.path.realpath(self._root / inventory)
            if not path.startswith(top + os.sep):
                continue
            paths = [path]
            if Path(path).is_dir():
                paths = sorted(str(each) for each in Path(path).iterdir() if each.is_file())
            yield from (os.path.relpath(each, top) for each in paths if each.endswith((".yml", ".yaml")))


def _says_something(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith(("#", "---")) for line in text.splitlines())


def _places(groups: object, at: Place = ()) -> Iterator[tuple[Place, Data]]:
    """Every place of every host, with its variables there. Source: the YAML inventory plugin of Ansible."""
    if not isinstance(groups, Mapping):
        return
    for group, about in groups.items():
        if not isinstance(about, Mapping):
            continue
        hosts = about.get("hosts")
        if isinstance(hosts, Mapping):
            for name, data in hosts.items():
                yield (*at, group, "hosts", name), data if isinstance(data, Mapping) else {}
        yield from _places(about.get("children"), (*at, group, "children"))


def _same_host(place: Place, name: str, file: str) -> bool:
    """True if this is the host.

    Raises:
        ConflictError: It is one of several that are written as a range.
    """
    written = str(place[-1])
    pattern = _RANGE.sub("[A-Za-z0-9]+", re.escape(written))
    if "[" in written and re.fullmatch(pattern, name):
        raise ConflictError(
            f"host {name} stands in {file} as one of {written}", hint="change it in git", file=file
        )
    return written == name


def _check_presence(wish: Write, name: str, there: _Where | None) -> None:
    if there is None:
        if wish.change in (Change.MERGE, Change.DELETE):
            raise NotFoundError(f"there is no host {name!r} in an inventory that can be changed here")
        if wish.match is not None:
            raise PreconditionError(f"there is no host {name!r} (any more)", hint="read it again")
        return
    version = version_of(there.data)
    if wish.absent:
        raise PreconditionError(f"host {name} is there already, in {there.file}")
    if wish.match not in (None, ANY, version):
        raise PreconditionError(
            f"host {name} was changed meanwhile: it has version {version}, not {wish.match}",
            hint="read it again, and make the change on what it says now",
        )
    if wish.change is Change.CREATE:
        raise ConflictError(f"host {name} is there already, in {there.file}", file=there.file)


def _wanted(wish: Write, name: str, before: Data) -> Data | None:
    """The variables that the host shall have.

    Raises:
        DesiredStateError: With every mistake in them.
    """
    if wish.change is Change.DELETE:
        return None
    body: object = wish.body if wish.body is not None else {}
    if wish.change is Change.MERGE and isinstance(body, Mapping):
        body = merged(before, body)
    if not isinstance(body, Mapping):
        raise DesiredStateError([body_problem(wish.key, Mistake((), "expected a mapping of variables"))])
    wrong = (
        []
        if _NAME.fullmatch(name)
        else [Mistake(("name",), "a host's name has letters, digits, '.', '_', '-'")]
    )
    for key, value in body.items():
        if key not in before or before[key] != value:
            wrong += [Mistake((str(key),), message) for message in _refused(str(key), value)]
    _, _, said = make_host(name, {str(key): value for key, value in body.items()}, Path("/nonexistent"))
    for each in said:
        field, colon, message = each.partition(": ")
        wrong.append(Mistake((field,) if colon else (), message if colon else each))
    if wrong:
        raise DesiredStateError([body_problem(wish.key, each) for each in dict.fromkeys(wrong)])
    return dict(body)


def _refused(key: str, value: object) -> Iterator[str]:
    """What may not be said of a host but in git."""
    only_git = "only git may say so"
    if not key.startswith(PREFIX) and key not in _PLAIN:
        yield f"{only_git}; here a host has {PREFIX}… and {', '.join(sorted(_PLAIN))}"
    elif _has_template(value):
        yield "a template ({{ … }}) cannot stand here: write the value itself"
    elif key == f"{PREFIX}uri" and isinstance(value, str) and _RUNS.search(value):
        yield f"a URI that names a program or a proxy: {only_git}"
    elif key in _PLAIN and not (
        isinstance(value, int) or (isinstance(value, str) and _WORD.fullmatch(value))
    ):
        yield "a plain word is expected"


def _has_template(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_template(key) or _has_template(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_has_template, value))
    return isinstance(value, str) and _TEMPLATE.search(value) is not None


def _edits(name: str, there: _Where | None, after: Data | None) -> Iterator[Edit]:
    if there is None:
        yield ("all", "hosts", name), dict(after or {})
    elif after is None:
        yield from ((place, REMOVE) for place in there.places)
    else:
        place = there.places[0]
        # Its variables may be `null`, which is no mapping that a field could be put into.
        changes = differences(there.data, after) if there.data else iter([((), after)] if after else [])
        yield from (((*place, *path), value) for path, value in changes)


def _new(name: str, after: Data | None) -> str:
    """An inventory file with one host."""
    return edit_all("all: {}\n", WHOLE, [(("all", "hosts", name), dict(after or {}))])


def _conflict(file: str, error: DesiredStateError, what: str) -> ConflictError:
    first = error.problems[0]
    where = f"{file}:{first.line}" if first.line else file
    return ConflictError(
        f"{what} in {where}: {first.message}", hint="change it in git", file=file, line=first.line
    )
