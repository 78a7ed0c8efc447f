"""One file of the source, read: its manifests and what the whole needs to know of them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, replace

from reconciler.desired.check import macs, template_path
from reconciler.desired.check_network import fixed_addresses
from reconciler.desired.decode import SharedParts, decode
from reconciler.desired.tree import Content
from reconciler.desired.yaml_file import documents
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.desired import Origin
from reconciler.model.manifest import Object, VirtualMachine


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file's manifests. Pairs instead of mappings, because there may be 20,000 files of one machine.

    Attributes:
        version: Of the content, as the tree gave it; None if it is to be read again next time.
        digest: SHA-256 of the content; empty if it could not be read.
        objects: ``Kind/name`` and manifest.
        machines: Name and machine.
        others: What is no machine.
        origins: ``Kind/name`` and place.
        macs: MAC as a number, and machine's name with the interface's index.
        addresses: Network and address that is fixed there, and machine's name with the interface's index.
        templates: Paths of the XML templates that are named.
        drafts: Machines with mistakes as far as they are right, only ever checked: ``Kind/name`` (empty if
            unknown), place and machine.
        problems: Mistakes of the file and of its manifests, each by itself.
        broken: ``Kind/name`` of manifests with such a mistake.
        unreadable: It may hold manifests that nobody knows of.
    """

    version: Hashable
    digest: bytes = b""
    objects: tuple[tuple[str, Object], ...] = ()
    machines: tuple[tuple[str, VirtualMachine], ...] = ()
    others: tuple[Object, ...] = ()
    origins: tuple[tuple[str, Origin], ...] = ()
    macs: tuple[tuple[int, tuple[str, int]], ...] = ()
    addresses: tuple[tuple[tuple[str, str], tuple[str, int]], ...] = ()
    templates: tuple[str, ...] = ()
    drafts: tuple[tuple[str, Origin, VirtualMachine], ...] = ()
    problems: tuple[Problem, ...] = ()
    broken: tuple[str, ...] = ()
    unreadable: bool = False


def parse_file(
    file: str, version: Hashable, content: Content, pool: SharedParts, before: ParsedFile | None
) -> ParsedFile:
    """Read one file.

    Args:
        file: Its path, for messages.
        version: Of the content.
        content: Bytes, or why there are none.
        pool: Where equal parts of machines are shared.
        before: The same file earlier: manifests that did not change stay the same objects.
    """
    if isinstance(content, Problem):
        return ParsedFile(version=None, problems=(content,), unreadable=True)
    digest = hashlib.sha256(content).digest()
    if before is not None and before.digest == digest:
        return replace(before, version=version)
    problems: list[Problem] = []
    objects: list[tuple[str, Object]] = []
    origins: list[tuple[str, Origin]] = []
    drafts: list[tuple[str, Origin, VirtualMachine]] = []
    earlier = dict(before.objects) if before is not None else {}
    unreadable = False
    try:
        for document in documents(content, file):
            left: list[tuple[str, VirtualMachine]] = []
            made = decode(document, problems, pool, left)
            drafts += [(key, Origin(file, document.line), draft) for key, draft in left]
            if made is not None:
                key = f"{made.kind}/{made.name}"
                objects.append((key, _same(earlier.get(key), made)))
                origins.append((key, Origin(file, document.line)))
    except DesiredStateError as error:
        problems += error.problems
        unreadable = True
    summary = _summary(version, digest, objects, origins, problems)
    if not drafts and not unreadable:
        return summary
    return replace(
        summary,
        drafts=tuple(drafts),
        templates=summary.templates + tuple(path for *_, one in drafts if (path := template_path(one))),
        unreadable=summary.unreadable or unreadable,
    )


def _same(earlier: Object | None, made: Object) -> Object:
    return earlier if earlier is not None and earlier == made else made


def _summary(
    version: Hashable,
    digest: bytes,
    objects: list[tuple[str, Object]],
    origins: list[tuple[str, Origin]],
    problems: list[Problem],
) -> ParsedFile:
    machines = tuple((one.name, one) for _, one in objects if isinstance(one, VirtualMachine))
    return ParsedFile(
        version=version,
        digest=digest,
        objects=tuple(objects),
        machines=machines,
        others=tuple(one for _, one in objects if not isinstance(one, VirtualMachine)),
        origins=tuple(origins),
        macs=tuple((mac, (name, index)) for name, one in machines for mac, index in macs(one)),
        addresses=tuple((place, (name, at)) for name, one in machines for place, at in fixed_addresses(one)),
        templates=tuple({path for _, one in objects if (path := template_path(one))}),
        problems=tuple(problems),
        broken=tuple({problem.object for problem in problems if problem.object}),
        unreadable=any(not problem.object for problem in problems),
    )
