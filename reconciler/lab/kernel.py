"""What every Linux guest is built with: unpacked Debian packages, kernel modules, a boot loader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reconciler.errors import LabError
from reconciler.lab.packages import GUEST_PACKAGES
from reconciler.lab.process import CLEAN_ENVIRONMENT, run

EPOCH: Final = "315532800"
"""Time stamp of everything on a FAT disk: the first second that FAT knows."""


def unpack_packages(work: Path, packages: Iterable[str] = GUEST_PACKAGES) -> Path:
    """Download packages and unpack them below `work`; the folder of their files.

    Raises:
        LabError: apt does not know or cannot reach a package.
    """
    root = work / "root"
    names = [_real_package(name) for name in packages]
    download = f"cd '{work}' && exec apt-get -q -o APT::Sandbox::User=root download {' '.join(names)}"
    try:
        run(["sh", "-c", download], timeout=600)
    except LabError as error:
        raise LabError(
            f"the guests' packages cannot be fetched: {error.message}", hint="apt-get update"
        ) from error
    for package in sorted(work.glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(root)], timeout=120)
    return root


def _real_package(name: str) -> str:
    """The versioned kernel package that a meta package stands for; other names as they are."""
    if not name.startswith("linux-image"):
        return name
    depends = run(["apt-cache", "depends", name], check=False).stdout
    match = re.search(r"Depends: (linux-image-\S+)", depends)
    if match is None:
        raise LabError(f"apt does not know the package {name}", hint="apt-get update")
    return match[1]


def modules(root: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Kernel modules and what they depend on, by name, in the order in which they can be loaded.

    Args:
        root: Folder with the unpacked kernel package.
        names: Modules that are wanted, with underscores.

    Raises:
        LabError: The kernel lacks one.
    """
    found = {path.stem.replace("-", "_"): path for path in (root / "lib/modules").rglob("*.ko")}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        if name not in found:
            raise LabError(f"the kernel package lacks the module {name}")
        content = found[name].read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for needed in depends[1].decode().split(",") if depends and depends[1] else ():
            add(needed.replace("-", "_"))
        ordered[name] = content

    for name in names:
        add(name)
    return ordered


def with_tools(root: Path, argv: list[str]) -> None:
    """Run one of the unpacked tools; syslinux itself calls the mtools by name."""
    settings = {"PATH": f"{root}/usr/bin:{CLEAN_ENVIRONMENT['PATH']}", "MTOOLS_SKIP_CHECK": "1"}
    settings |= {"SOURCE_DATE_EPOCH": EPOCH, "TZ": "UTC"}
    run(["env", *(f"{key}={value}" for key, value in settings.items()), *argv], timeout=60)


def to_qcow2(raw: Path, target: Path) -> None:
    """Convert a raw disk image."""
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)], timeout=120)
