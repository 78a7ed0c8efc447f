"""All files of a source -> one `DesiredState`; reading again costs only what changed."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from reconciler.desired.check import Catalog, check, check_draft, is_template_path
from reconciler.desired.checksums import SHA256_DIGITS, ChecksumFiles
from reconciler.desired.decode import Mistake, SharedParts
from reconciler.desired.git import GitTree
from reconciler.desired.images import ImageFile, ImageFiles
from reconciler.desired.index import Index
from reconciler.desired.parsed import ParsedFile, parse_file
from reconciler.desired.rivals import Finding, rivals
from reconciler.desired.tree import Excluded, FolderTree, Listing, Tree, refused
from reconciler.desired.yaml_file import Document, documents, show_path
from reconciler.errors import DesiredStateError, Problem
from reconciler.model.config import SourceConfig
from reconciler.model.desired import DesiredState, Origin
from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.network import Network
from reconciler.model.pool import VirtualMachinePool
from reconciler.model.storage import Image, StoragePool, Volume

_MACHINES, _ORIGINS = attrgetter("machines"), attrgetter("origins")


def open_source(
    config: SourceConfig, base: Path, digests: Path | None = None, exclude: Sequence[Path] = ()
) -> Source:
    """The source that a configuration names.

    Args:
        config: Where the desired state is.
        base: Where a relative path starts.
        digests: A file that remembers the digests of images between processes, or None.
        exclude: Inventories, which may lie between the manifests: these files and folders, and the
            ``group_vars`` and ``host_vars`` beside them, are no manifests. A relative path starts at the root
            of the source.

    Raises:
        DesiredStateError: ``source.folder`` leads out of the source.
    """
    tree = open_tree(config, base, exclude)
    checksums = ChecksumFiles(digests.with_name("image-checksums.json") if digests is not None else None)
    return Source(tree, image_files(config, base, digests), checksums)


def image_files(config: SourceConfig, base: Path, digests: Path | None) -> ImageFiles:
    """Looks at image files, where the configuration lets them lie; see `open_source`."""
    folders = config.image_folders
    return ImageFiles(digests, None if folders is None else [base / folder for folder in folders])


def open_tree(config: SourceConfig, base: Path, exclude: Sequence[Path] = ()) -> Tree:
    """The files of that source, for one who changes them; see `open_source`."""
    root = base / config.path
    left_out = Excluded(root, exclude)
    if config.git:
        return GitTree(root, config.ref, config.folder, config.remote, config.max_file_size, left_out)
    return FolderTree(root, config.folder, config.max_file_size, left_out)


class Source:
    """Reads the desired state, whole and valid, or every mistake in it.

    What did not change since the last read is the same object: a manifest, a file's manifests, and the
    whole state when nothing changed at all.

    Args:
        tree: Where the files come from.
        images: Looks at image files.
        checksums: Looks into the checksum files of distributions.
    """

    def __init__(self, tree: Tree, images: ImageFiles, checksums: ChecksumFiles | None = None) -> None:
        self._tree = tree
        self._image_files = images
        self._checksums = checksums or ChecksumFiles()
        self._pool = SharedParts()
        self._files: dict[str, ParsedFile] = {}
        self._looks: dict[str, tuple[Image, ImageFile, Image]] = {}
        self._texts: dict[str, tuple[object, str]] = {}
        self._catalog = Catalog()
        self._checked: dict[str, tuple[ParsedFile, Catalog, tuple[Finding, ...]]] = {}
        self._last: tuple[object, DesiredState | DesiredStateError] | None = None
        self._listing: Listing | None = None

    trouble: DesiredStateError | None = None
    """What a reader that falls back on an older state keeps quiet; here nothing ever is."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be had from the network, in words; empty when nothing was missed."""
        return (*self._tree.warnings, *self._checksums.warnings)

    def fetch(self) -> bool:
        """Follow the remote, if there is one; True when the ref moved. A failure becomes a warning."""
        return self._tree.fetch()

    def changed(self) -> bool:
        """True if a read would find other files than the last one did. Looks at them, and reads none.

        Raises:
            DesiredStateError: The source itself is gone.
        """
        return self._tree.listing() != self._listing

    @property
    def catalog(self) -> Catalog:
        """What manifests can refer to, at the last read."""
        return self._catalog

    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """Path and text of files that may hold objects that nobody knows of, at the last read."""
        if not self._catalog.partial:
            return ()
        paths = [path for path, file in self._files.items() if file.unreadable]
        return tuple(
            (path, "" if isinstance(content, Problem) else content.decode(errors="replace"))
            for path, content in self._tree.read(paths)
        )

    def index(self) -> Index:
        """Where everything stood at the last read, whether that read was right or not."""
        last = self._last[1] if self._last is not None else None
        return Index(self._files, last.origins if isinstance(last, DesiredState) else None)

    def place(self, revision: str, target: Path) -> Path:
        """A folder with all files of the tree at that revision, manifests or not.

        Args:
            revision: Of a `DesiredState` that was read here.
            target: A private folder that does not exist; a tree that is no folder is laid out there.

        Raises:
            DesiredStateError: They cannot be had any more.
        """
        return self._tree.place(revision, target)

    def read(self) -> DesiredState:
        """The desired state now.

        Raises:
            DesiredStateError: It is refused, with every mistake in every file.
        """
        listing = self._listing = self._tree.listing()
        changed = self._update(listing)
        catalog, image_findings = self._make_catalog()
        moment = (listing.problems, catalog, image_findings)
        if self._last is None or changed or self._last[0] != moment:
            try:
                self._last = (moment, self._state(listing, catalog, image_findings))
            except DesiredStateError as error:
                self._last = (moment, error)
        state = self._last[1]
        if isinstance(state, DesiredState) and listing.revision not in (None, state.revision):
            # Another commit with the same manifests.
            state = replace(state, revision=listing.revision or "")
            self._last = (moment, state)
        if isinstance(state, DesiredStateError):
            raise DesiredStateError(state.problems, hint=state.hint)
        return state

    def _update(self, listing: Listing) -> bool:
        """Parse the files that changed; True if there were any."""
        known = self._files
        stale = [
            path
            for path, version in listing.files.items()
            if (file := known.get(path)) is None or file.version is None or file.version != version
        ]
        gone = known.keys() - listing.files.keys()
        if not stale and not gone:
            return False
        fresh: dict[str, ParsedFile] = {}
        with _collector_paused():
            for path, content in self._tree.read(stale):
                fresh[path] = parse_file(path, listing.files[path], content, self._pool, known.get(path))
        changed = bool(gone) or any(_differs(known.get(path), file) for path, file in fresh.items())
        self._files = {path: fresh.get(path) or known[path] for path in listing.files}
        self._checked = {path: entry for path, entry in self._checked.items() if path in self._files}
        return changed

    def _make_catalog(self) -> tuple[Catalog, tuple[Finding, ...]]:
        """What machines refer to; the very same object as last time if none of it changed."""
        presets: dict[str, InstanceType] = {}
        images: dict[str, Image] = {}
        things: dict[type, dict[str, Any]] = {
            StoragePool: {},
            Volume: {},
            Network: {},
            VirtualMachinePool: {},
        }
        sizes: dict[str, int] = {}
        findings: list[Finding] = []
        wanted: set[str] = set()
        broken: set[str] = set()
        partial = False
        for path, file in self._files.items():
            if file.templates:
                wanted.update(file.templates)
            if file.broken or file.unreadable:
                broken.update(file.broken)
                partial |= file.unreadable
            for one in file.others:
                if isinstance(one, InstanceType):
                    presets[one.name] = one
                    continue
                if not isinstance(one, Image):
                    things[type(one)][one.name] = one
                    continue
                images[one.name], seen = self._resolve(one)
                sizes[one.name] = seen.size
                mistake = _image_mistake(one, seen)
                if mistake is not None:
                    findings.append(Finding(f"Image/{one.name}", _origin(file, one, path), mistake))
        made = Catalog(
            presets,
            images,
            sizes,
            self._templates(wanted),
            pools=things[StoragePool],
            volumes=things[Volume],
            networks=things[Network],
            machine_pools=things[VirtualMachinePool],
            broken=frozenset(broken),
            partial=partial,
        )
        if made != self._catalog:
            self._catalog = made
        return self._catalog, tuple(findings)

    def _resolve(self, image: Image) -> tuple[Image, ImageFile]:
        """The image with an absolute path and its digest, and what a look at its file gave."""
        spec = image.spec
        update: dict[str, str | None]
        if spec.path is not None:
            path = (self._tree.root / spec.path).absolute()
            seen = self._image_files.look(path, spec.format, sha512=spec.sha512 is not None)
            update = {"path": str(path), "sha256": seen.sha256 or None}
        elif spec.checksums is not None:
            told = self._checksums.digest_of(image)
            seen = ImageFile("", 0, told.mistake)
            update = {"sha256" if len(told.digest) == SHA256_DIGITS else "sha512": told.digest or None}
        else:
            return image, ImageFile("", 0)
        known = self._looks.get(image.name)
        if (
            known is None
            or known[0] is not image
            or any(getattr(known[2].spec, field) != value for field, value in update.items())
        ):
            known = self._looks[image.name] = (image, seen, _with(image, update))
        return known[2], seen

    def _templates(self, wanted: set[str]) -> dict[str, str]:
        """Text by path of the templates that exist."""
        texts: dict[str, tuple[object, str]] = {}
        for path in sorted(wanted):
            version = self._tree.version(path) if is_template_path(path) else None
            known = self._texts.get(path)
            if version is not None and known is not None and known[0] == version:
                texts[path] = known
            elif version is not None:
                for _, content in self._tree.read([path]):
                    text = _decoded(content)
                    if text is not None:
                        texts[path] = (version, text)
        self._texts = texts
        return {path: text for path, (_, text) in texts.items()}

    def _state(self, listing: Listing, catalog: Catalog, findings: Iterable[Finding]) -> DesiredState:
        files = self._files
        every = files.values()
        # There may be 20,000 files of one machine: a loop of ours would cost several times as much.
        machines: dict[str, VirtualMachine] = dict(chain.from_iterable(map(_MACHINES, every)))
        origins: dict[str, Origin] = dict(chain.from_iterable(map(_ORIGINS, every)))
        found = [*findings, *rivals(every, machines, catalog, origins)]
        for path, file in files.items():
            known = self._checked.get(path)
            if known is None or known[0] is not file or known[1] is not catalog:
                known = self._check(path, file, catalog)
            if known[2]:
                found += known[2]
        problems = [*listing.problems, *(p for file in files.values() for p in file.problems)]
        problems += self._locate(found)
        if problems:
            raise DesiredStateError(problems)
        if not origins:
            raise refused(
                self._tree.root,
                "there is no manifest in this source",
                hint="an empty source is taken for a mistake; to start with nothing, declare an InstanceType",
            )
        return DesiredState(
            revision=listing.revision or self._digest(catalog),
            machines=machines,
            instance_types=catalog.instance_types,
            images=catalog.images,
            templates=catalog.templates,
            pools=catalog.pools,
            volumes=catalog.volumes,
            networks=catalog.networks,
            machine_pools=catalog.machine_pools,
            origins=origins,
        )

    def _digest(self, catalog: Catalog) -> str:
        """A folder's revision: what its files and templates say."""
        whole = hashlib.sha256()
        for path, file in self._files.items():
            whole.update(path.encode(errors="surrogateescape") + b"\0" + file.digest)
        for path, text in catalog.templates.items():
            whole.update(
                path.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(text.encode()).digest()
            )
        return f"folder:{whole.hexdigest()[:40]}"

    def _check(
        self, path: str, file: ParsedFile, catalog: Catalog
    ) -> tuple[ParsedFile, Catalog, tuple[Finding, ...]]:
        """A file's mistakes against all others, which are remembered."""
        findings = tuple(
            Finding(key, origin, mistake)
            for (key, one), (_, origin) in zip(file.objects, file.origins, strict=True)
            for mistake in check(one, catalog)
        )
        findings += tuple(
            Finding(key, origin, mistake)
            for key, origin, draft in file.drafts
            for mistake in check_draft(draft, catalog, key)
        )
        found = self._checked[path] = (file, catalog, findings)
        return found

    def _locate(self, findings: Iterable[Finding]) -> Iterator[Problem]:
        """Problems with line and column: the files with mistakes are read again for their places.

        Keeping the place of every value of 20,000 machines would cost more than all else together.
        """
        by_file: dict[str, list[Finding]] = {}
        for finding in findings:
            by_file.setdefault(finding.origin.file, []).append(finding)
        for path, content in self._tree.read(sorted(by_file)):
            lines = {} if isinstance(content, Problem) else _by_line(content, path)
            for finding in by_file[path]:
                yield _problem(finding, lines.get(finding.origin.line))


def _differs(before: ParsedFile | None, now: ParsedFile) -> bool:
    return before is None or not now.digest or before.digest != now.digest


def _by_line(content: bytes, path: str) -> dict[int, Document]:
    found: dict[int, Document] = {}
    try:
        for document in documents(content, path):
            found[document.line] = document
    except DesiredStateError:
        pass  # told already, as a problem of the file
    return found


def _problem(finding: Finding, document: Document | None) -> Problem:
    mistake, origin = finding.mistake, finding.origin
    if document is not None:
        return document.problem(mistake.path, mistake.message, key=mistake.at_key, owner=finding.key)
    return Problem(origin.file, origin.line, 1, show_path(mistake.path), mistake.message, finding.key)


def _with(image: Image, update: Mapping[str, str | None]) -> Image:
    return image.model_copy(update={"spec": image.spec.model_copy(update=update)})


def _image_mistake(image: Image, seen: ImageFile) -> Mistake | None:
    spec = image.spec
    if seen.mistake:
        return Mistake(("spec", "path" if spec.path is not None else "checksums"), seen.mistake)
    if spec.path is None:
        return None
    for field, stated, found in (("sha256", spec.sha256, seen.sha256), ("sha512", spec.sha512, seen.sha512)):
        if stated is not None and found != stated:
            return Mistake(("spec", field), f"the file has another {field}: {found}")
    return None


def _origin(file: ParsedFile, one: InstanceType | Image, path: str) -> Origin:
    return dict(file.origins).get(f"{one.kind}/{one.name}", Origin(path, 0))


def _decoded(content: bytes | Problem) -> str | None:
    if isinstance(content, Problem):
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Hold the garbage collector while a great many objects are made, none of them garbage in a cycle.

    Each of its passes walks everything made so far: reading 20,000 machines takes several times as long.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
