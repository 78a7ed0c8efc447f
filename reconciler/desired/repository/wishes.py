"""A wish to change one object -> the new text of the file where it stands, or why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote

from reconciler.desired.decode import Mistake, decode_data
from reconciler.desired.edit import add, drop, edit_all, line_of, read
from reconciler.desired.index import Index
from reconciler.desired.repository.differences import differences, merged, same
from reconciler.desired.repository.overlay import Overlay
from reconciler.desired.repository.place import Step
from reconciler.desired.writer import to_plain
from reconciler.desired.yaml_file import show_path
from reconciler.errors import ConflictError, DesiredStateError, NotFoundError, PreconditionError, Problem
from reconciler.model.envelope import API_VERSION
from reconciler.model.manifest import KINDS, Object
from reconciler.model.write import ANY, Change, Data, Write, version_of

BODY = "body"
"""What the body of a wish is called where a mistake in it is told."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What programs may write, and where.

    Attributes:
        folder: Folder for new objects, relative to the source's root.
        git_only: Patterns of files that are left to people.
    """

    folder: str
    git_only: tuple[str, ...] = ()

    def file_for(self, key: str) -> str:
        """The file of an object that no person wrote: one object a file."""
        kind, _, name = key.partition("/")
        return f"{self.folder}/{collection(kind)}/{quote(name, safe='')}.yaml".removeprefix("/")

    def require_open(self, file: str, text: str, key: str) -> None:
        """Refuse a file that is left to people.

        Args:
            file: The file.
            text: What it says.
            key: What is to be changed in it.

        Raises:
            ConflictError: It is.
        """
        pattern = next((one for one in self.git_only if fnmatchcase(file, one)), None)
        if pattern is not None:
            line = line_of(text, key)
            where = f"{file}:{line}" if line else file
            raise ConflictError(
                f"{_words(key)} belongs in {where}, which only git may change (api.gitOnly: {pattern})",
                hint="change it in git",
                file=file,
                line=line,
            )


def collection(kind: str) -> str:
    """The word for all objects of a kind: ``virtualmachines``."""
    return f"{kind.lower()}s"


@dataclass(frozen=True, slots=True)
class Made:
    """What a wish comes to.

    Attributes:
        wish: The wish.
        step: The change of its file; None if the object says that already.
        file: Where the object stands (stood).
        before: What the object said; None if it was not there.
        manifest: What it shall be; None if it goes.
        after: What it says then.
    """

    wish: Write
    step: Step | None
    file: str
    before: Data | None
    manifest: Object | None
    after: Data | None


class Bench:
    """Wishes are made here one after the other, each on what the ones before it left.

    Args:
        overlay: Takes the new texts.
        rules: What may be written where.
        makers: What makes a wish of which kind, where that is no manifest.
    """

    def __init__(
        self, overlay: Overlay, rules: Rules, makers: Mapping[str, Callable[[Write], Made]] | None = None
    ) -> None:
        self._makers = makers or {}
        self._overlay = overlay
        self._rules = rules
        self._index = Index({}, {})
        self._moved: dict[str, str | None] = {}

    def start(self, index: Index) -> None:
        """Begin with what stands where before the first wish."""
        self._index = index
        self.begin()

    def begin(self) -> None:
        """Forget what was made."""
        self._moved.clear()
        self._overlay.clear()

    def make(self, wish: Write) -> Made:
        """Make one wish, without putting it on top.

        Raises:
            DesiredStateError: The body is wrong in itself.
            NotFoundError: There is no such object.
            ConflictError: It is there already, or its file must not, or cannot, be changed.
            PreconditionError: It has another version.
        """
        maker = self._makers.get(wish.key.partition("/")[0])
        if maker is not None:
            return maker(wish)
        file = self.file_of(wish.key)
        text = self._overlay.text(file) if file is not None else None
        before = self._data(wish.key, file, text)
        _check_presence(wish, file, text or "", before)
        after = _wanted(wish, before)
        if file is None:
            file = self._rules.file_for(wish.key)
            text = self._overlay.text(file)
        self._rules.require_open(file, text or "", wish.key)
        new = _new_text(wish.key, file, text, before, after)
        step = None
        if new != text:
            step = Step(file, text, new, wish.message, wish.author)
        return Made(wish, step, file, before, after, None if after is None else to_plain(after))

    def standing(self, key: str) -> Data | None:
        """What an object says now, right or wrong; None if there is none.

        Raises:
            ConflictError: It cannot be read.
        """
        file = self.file_of(key)
        return self._data(key, file, self._overlay.text(file) if file is not None else None)

    def take(self, made: Made) -> None:
        """Put a wish that was made on top, for those that come after it."""
        if made.step is not None:
            self._overlay.put({made.file: None if made.step.after is None else made.step.after.encode()})
        self._moved[made.wish.key] = made.file if made.after is not None else None

    def file_of(self, key: str) -> str | None:
        """Where an object stands now."""
        if key in self._moved:
            return self._moved[key]
        return self._index.file_of(key)

    def _data(self, key: str, file: str | None, text: str | None) -> Data | None:
        """What an object says: as plain data in its usual form, if it is right."""
        if file is None or text is None:
            return None
        if key not in self._moved:
            known = self._index.manifest(key)
            if known is not None:
                return to_plain(known)
        try:
            return usual(read(text, key, file=file))
        except DesiredStateError as error:
            raise _in_the_way(key, file, error.problems[0].line, error.problems[0].message) from error


def usual(data: Data) -> Data:
    """An object's data with defaults left out and sizes as people write them; as it is if it is wrong."""
    made, mistakes = decode_data({**data})
    return data if made is None or mistakes else to_plain(made)


def _check_presence(wish: Write, file: str | None, text: str, before: Data | None) -> None:
    words = _words(wish.key)
    if before is None or file is None:
        if wish.change in (Change.MERGE, Change.DELETE):
            raise NotFoundError(f"there is no {words}")
        if wish.match is not None:
            raise PreconditionError(f"there is no {words} (any more)", hint="read it again")
        return
    if wish.absent:
        raise PreconditionError(f"{words} is there already, in {file}:{line_of(text, wish.key)}")
    version = version_of(before)
    if wish.match not in (None, ANY, version):
        raise PreconditionError(
            f"{words} was changed meanwhile: it has version {version}, not {wish.match}",
            hint="read it again, and make the change on what it says now",
        )
    if wish.change is Change.CREATE:
        line = line_of(text, wish.key)
        raise ConflictError(
            f"{words} is there already, in {file}:{line}",
            hint="change it, or take another name",
            file=file,
            line=line,
        )


def _wanted(wish: Write, before: Data | None) -> Object | None:
    """What the object shall be, right in itself.

    Raises:
        DesiredStateError: With every mistake of the body.
    """
    if wish.change is Change.DELETE:
        return None
    body: object = wish.body
    if isinstance(body, Mapping):
        body = {key: value for key, value in body.items() if key != "status"}
        if wish.change is Change.MERGE:
            body = merged(before or {}, body)
    if isinstance(body, dict):
        body.setdefault("apiVersion", API_VERSION)
    made, mistakes = decode_data(_copied(body))
    mistakes += _misnamed(wish.key, body)
    if made is None or mistakes:
        raise DesiredStateError([body_problem(wish.key, mistake) for mistake in mistakes])
    return made


def body_problem(key: str, mistake: Mistake) -> Problem:
    """A mistake in the body of a wish."""
    return Problem(BODY, 0, 0, show_path(mistake.path), mistake.message, key)


def _misnamed(key: str, body: object) -> list[Mistake]:
    """A body that is another object than the one that is spoken of."""
    if not isinstance(body, dict):
        return []
    kind, _, name = key.partition("/")
    mistakes = []
    if body.get("kind") in KINDS and body["kind"] != kind:
        mistakes.append(Mistake(("kind",), f"the kind is {kind} here, not {body['kind']}"))
    metadata = body.get("metadata")
    said = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(said, str) and said != name:
        message = f"the name is {name!r} here, not {said!r}: an object cannot be renamed"
        mistakes.append(Mistake(("metadata", "name"), message))
    return mistakes


def _copied(data: object) -> object:
    """Fresh containers: reading a manifest may put finished parts into the data."""
    if isinstance(data, Mapping):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(item) for item in data] if isinstance(data, (list, tuple)) else data


def _new_text(key: str, file: str, text: str | None, before: Data | None, after: Object | None) -> str | None:
    """The file's new text; None if the file goes.

    Raises:
        ConflictError: It cannot be changed there.
    """
    try:
        if after is None:
            return drop(text or "", key, file=file) or None
        if before is None:
            made = add(text or "", after)
            if text is not None:
                read(made, key, file=file)  # what stands there already may be such that nothing can follow
            return made
        wanted = to_plain(after)
        made = edit_all(text or "", key, differences(before, wanted), file=file)
        if made != text and not same(usual(read(made, key, file=file)), wanted):
            raise _in_the_way(key, file, line_of(made, key), "its fields depend on each other")
    except DesiredStateError as error:
        first = error.problems[0]
        raise _in_the_way(key, file, first.line, first.message) from error
    return made


def _in_the_way(key: str, file: str, line: int, why: str) -> ConflictError:
    return ConflictError(
        f"{_words(key)} cannot be changed in {file}:{line}: {why}",
        hint="change it in git, in an editor",
        file=file,
        line=line,
    )


def _words(key: str) -> str:
    return key.replace("/", " ", 1)
