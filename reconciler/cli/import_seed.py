"""`reconciler import seed`: the set-up files of the older interfaces."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from reconciler.cli.app import App, options, output_option, print_json
from reconciler.cli.import_files import refuse_existing, write_files
from reconciler.desired.decode import decode_text
from reconciler.desired.images import ImageFiles
from reconciler.desired.writer import to_yaml
from reconciler.errors import DesiredStateError, Problem, UsageError
from reconciler.imports.seed import (
    IMAGE_ID,
    SeedHost,
    SeedImage,
    inventory_text,
    read_hosts,
    read_images,
    read_types,
)
from reconciler.model.envelope import Metadata
from reconciler.model.manifest import InstanceType
from reconciler.model.storage import DiskFormat, Image, ImageSpec

INVENTORY = "hosts.ini"
_FETCH_SECONDS = 6 * 3600
_CONNECT_SECONDS = 15


class SeedError(DesiredStateError):
    """The set-up files are refused, with every mistake in them."""

    subject = "what shall be imported"


@dataclass
class _Lists:
    """What the files hold, as far as they are right.

    Attributes:
        hosts: Of the host list.
        images: Of the image list.
        types: Of the types JSON, each with its line.
        problems: Everything that is wrong.
    """

    hosts: tuple[SeedHost, ...] = ()
    images: tuple[SeedImage, ...] = ()
    types: tuple[tuple[InstanceType, int], ...] = ()
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Files:
    """The files to read; None means not given."""

    hosts: Path | None
    images: Path | None
    types: Path | None


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Example:
  reconciler import seed --hosts pm_file --images image_file --types types.json --out state
  reconciler plan --source state --inventory state/hosts.ini"""
)
@click.option("--hosts", type=_FILE, help="A list of user@address lines.")
@click.option("--images", type=_FILE, help="A list of image paths, some user@address:/path.")
@click.option("--types", type=_FILE, help='JSON: {"types": [{"tid", "cpu", "ram" (MiB), "disk" (GiB)}, …]}.')
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for hosts.ini, images.yaml and instance-types.yaml.",
)
@click.option(
    "--format",
    "unsaid",
    type=click.Choice([str(each) for each in DiskFormat]),
    help="Format of images whose name does not say it (.img). It is never guessed.",
)
@click.option(
    "--image-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where images of other machines are copied to [STATE_DIR/images].",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@output_option
@options
def seed(
    app: App,
    out: Path,
    unsaid: str | None,
    image_folder: Path | None,
    force: bool,
    output: str,
    **given: Path | None,
) -> None:
    """Read old-style lists of hosts, images and types; write an inventory and manifests.

    All of it or nothing: every mistake is told with file and line. An image user@address:/path is
    copied here now, by scp and without asking for a password, because a manifest needs a file that
    is there; the older interface's ids are kept as annotations.
    """
    files = _Files(given["hosts"], given["images"], given["types"])
    if not any((files.hosts, files.images, files.types)):
        raise UsageError("there is nothing to import", hint="give --hosts, --images or --types")
    lists = _read(files, DiskFormat(unsaid) if unsaid else None)
    _raise(lists.problems)
    # Before an hour of copying, not after it.
    refuse_existing(out, _texts(files, lists, ()), force=force)
    folder = image_folder or app.state_dir / "images"
    looks = ImageFiles(app.state_dir / "image-digests.json")
    images = _images(files, lists, folder.absolute(), looks, force=force)
    _raise(lists.problems)
    texts = _texts(files, lists, images)
    for name, text in texts.items():
        if name != INVENTORY:
            decode_text(text, name)
    written = write_files(out, texts, force=force)
    if output == "json":
        counts = {"hosts": len(lists.hosts), "images": len(images), "instanceTypes": len(lists.types)}
        print_json({"written": [str(path) for path in written], **counts})
        return
    for path in written:
        click.echo(f"wrote {path}")
    inventory = f" --inventory {out / INVENTORY}" if files.hosts else ""
    click.echo(f"Next: reconciler plan --source {out}{inventory}")


def _raise(problems: Sequence[Problem]) -> None:
    if problems:
        raise SeedError(problems, hint="mend these and import again; nothing was written")


def _read(files: _Files, unsaid: DiskFormat | None) -> _Lists:
    lists = _Lists()
    problems = lists.problems
    if files.hosts:
        lists.hosts = read_hosts(_content(files.hosts, problems), str(files.hosts), problems)
    if files.images:
        lists.images = read_images(_content(files.images, problems), str(files.images), unsaid, problems)
    if files.types and (text := _content(files.types, problems)):
        lists.types = read_types(text, str(files.types), problems)
    return lists


def _content(path: Path, problems: list[Problem]) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}"))
        return ""
    except UnicodeDecodeError:
        problems.append(Problem(str(path), 0, 0, "", "this is not UTF-8 text"))
        return ""
    if not text.strip():
        problems.append(Problem(str(path), 0, 0, "", "there is nothing in it"))
    return text


def _images(
    files: _Files, lists: _Lists, folder: Path, looks: ImageFiles, *, force: bool
) -> tuple[tuple[Image, int], ...]:
    """The images with their digests, those of other machines copied to `folder`."""
    if files.images is None:
        return ()
    images = []
    for one in lists.images:
        fmt = one.format or DiskFormat.QCOW2
        path = (files.images.absolute().parent / one.path).absolute()
        wrong = ""
        if one.remote:
            source = f"{one.remote}:{one.path}"
            path = folder / f"{one.name}.{hashlib.sha256(source.encode()).hexdigest()[:8]}.{fmt}"
            wrong = _fetch(source, path, force=force)
        seen = looks.look(path, fmt) if not wrong else None
        wrong = wrong or (seen.mistake if seen else "")
        if wrong or seen is None:
            lists.problems.append(Problem(str(files.images), one.line, 1, "", wrong))
            continue
        metadata = Metadata(name=one.name, annotations={IMAGE_ID: str(one.number)})
        images.append((Image(metadata=metadata, spec=_spec(path, seen.sha256, fmt)), one.line))
    return tuple(images)


def _spec(path: Path, sha256: str, fmt: DiskFormat) -> ImageSpec:
    return ImageSpec(path=str(path), sha256=sha256, format=fmt)


def _fetch(source: str, target: Path, *, force: bool) -> str:
    """Copy a file here, with `force` even if it is here; what went wrong, in words."""
    if target.exists() and not force:
        return ""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    command = ["scp", "-B", "-q", "-o", f"ConnectTimeout={_CONNECT_SECONDS}", "--", source, str(fresh)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_FETCH_SECONDS
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            return f"scp cannot copy {source}: {said[-1] if said else f'it ended with {done.returncode}'}"
        fresh.replace(target)
    except subprocess.TimeoutExpired:
        return f"scp did not copy {source} within {_FETCH_SECONDS // 3600} hours"
    except OSError as error:
        return f"{source} cannot be copied to {target}: {error.strerror}"
    finally:
        with suppress(OSError):
            fresh.unlink()
    return ""


def _texts(files: _Files, lists: _Lists, images: Iterable[tuple[Image, int]]) -> dict[str, str]:
    """The files to write, by name."""
    texts = {}
    if files.hosts:
        texts[INVENTORY] = inventory_text(lists.hosts, files.hosts.name)
    if files.images:
        texts["images.yaml"] = _manifests(images, files.images)
    if files.types:
        texts["instance-types.yaml"] = _manifests(lists.types, files.types)
    return texts


def _manifests(objects: Iterable[tuple[Image | InstanceType, int]], source: Path) -> str:
    name = "".join(c if c.isprintable() else "?" for c in source.name)
    return "---\n".join(f"# {name}:{line}\n{to_yaml(one)}" for one, line in objects)
