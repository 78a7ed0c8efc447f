"""Files that an import writes: all of them or none, and over nothing that is there already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from reconciler.errors import UsageError


def refuse_existing(folder: Path, names: Iterable[str], *, force: bool) -> None:
    """Refuse to go on if some of these files exist, unless they may be replaced.

    Raises:
        UsageError: Each of them is named.
    """
    there = sorted(str(folder / name) for name in names if os.path.lexists(folder / name))
    if there and not force:
        raise UsageError(
            f"{', '.join(there)} {'exists' if len(there) == 1 else 'exist'} already; nothing was written",
            hint="give another folder with --out, or replace them with --force",
        )


def write_files(folder: Path, texts: Mapping[str, str], *, force: bool) -> list[Path]:
    """Write files below a folder, which is made if need be.

    Args:
        folder: Where.
        texts: Text by name.
        force: Replace what is there.

    Returns:
        Their paths.

    Raises:
        UsageError: Some exist already, each is named; or one cannot be written.
    """
    paths = {folder / name: text for name, text in texts.items()}
    refuse_existing(folder, texts, force=force)
    for path, text in paths.items():
        _write(path, text, force)
    return list(paths)


def _write(path: Path, text: str, force: bool) -> None:
    """One file, which is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        if force:
            fresh.replace(path)
        else:
            # A link fails where somebody was quicker; a rename would replace their file.
            path.hardlink_to(fresh)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            fresh.unlink()
