"""``reconciler lab``: throw-away libvirt hosts on this machine."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

import click

from reconciler.errors import ReconcilerError, UsageError
from reconciler.lab import HostState, HostStatus, Lab, to_stderr
from reconciler.lab.debian import build_debian
from reconciler.lab.guests import build_guests

SIZE = re.compile(r"([0-9]+)(Ki|Mi|Gi)?")
FACTORS = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the lab; each folder is a lab of its own.  [default: <state dir>/lab]",
)


@click.group()
def lab() -> None:
    """Throw-away libvirt hosts on this machine."""


@lab.command()
@directory_option
@click.option(
    "--hosts", type=int, help="Number of hosts; never fewer than now.  [default: as now; 3 for a new lab]"
)
@click.option("--name", default="lab", show_default=True, help="Hosts are called NAME1, NAME2, ...")
@click.option("--pool-size", metavar="SIZE", help="Size of each host's default pool, such as 64Mi.")
@click.option("--subnet", metavar="NET/24", help="Subnet of the hosts.  [default: a free one]")
@click.option("--guest-images", is_flag=True, help="Put the small guests into each host's default pool.")
@click.option("--debian", is_flag=True, help="Put a whole Debian there too; building it takes a minute.")
@click.option("--ceph", is_flag=True, help="A Ceph of one disk, for pools of type rbd on every host.")
@click.option("--ovs", is_flag=True, help="Open vSwitch on every host, with a bridge ovsbr0.")
def up(  # noqa: PLR0913 - a parameter for each option
    directory: Path | None,
    hosts: int | None,
    name: str,
    pool_size: str | None,
    *,
    subnet: str | None,
    guest_images: bool,
    debian: bool,
    ceph: bool,
    ovs: bool,
) -> None:
    """Bring hosts up, and mend broken ones; healthy ones are left alone.

    All hosts share the folder /var/lib/libvirt/shared. A lab that once got Ceph or Open vSwitch keeps it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name):
        raise UsageError(f"--name {name!r}: lower-case letters, digits and hyphens only")
    room = Lab(directory, prefix=name, subnet=subnet, progress=to_stderr)
    standing = room.up(hosts, pool_size=_bytes(pool_size) if pool_size else None, ceph=ceph, ovs=ovs)
    images: list[Path] = []
    if guest_images:
        guests = build_guests(room.guests_dir, progress=to_stderr)
        images += [guests.halt, guests.tiny]
    if debian:
        images.append(build_debian(room.guests_dir, progress=to_stderr))
    if images:
        for host in standing:
            host.add_images(images)
    click.echo(room.inventory)


@lab.command()
@directory_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(directory: Path | None, output: str) -> None:
    """Show each host; exit with 1 unless all of them are up."""
    found = Lab(directory).status()
    if output == "json":
        click.echo(json.dumps([asdict(host) for host in found], indent=2))
    else:
        click.echo(_table(found))
    if not found or any(host.state is not HostState.UP for host in found):
        raise SystemExit(1)


@lab.command()
@directory_option
@click.option("--purge", is_flag=True, help="Remove the cached guests too.")
def down(directory: Path | None, purge: bool) -> None:
    """Remove the lab, in whatever state it is."""
    Lab(directory, progress=to_stderr).down(purge=purge)


@lab.command()
@directory_option
@click.option("--cache", type=click.Path(file_okay=False, path_type=Path), help="Cache other than the lab's.")
def guests(directory: Path | None, cache: Path | None) -> None:
    """Build the small guests unless they are cached; print sha256 and path of each."""
    built = build_guests(cache or Lab(directory).guests_dir, progress=to_stderr)
    for path, digest in built.digests.items():
        click.echo(f"{digest}  {path}")


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@directory_option
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(directory: Path | None, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND, with options of its own, on HOST, without ssh."""
    # What stands after HOST comes as it was typed, with the -- that options of a command once needed.
    words = command[command[0] == "--" :]
    if not words:
        raise UsageError("lab run: name a command")
    argv = [*Lab(directory).host(host).enter(), *words]
    os.execvp(argv[0], argv)  # noqa: S606 - the operator's own command, as root on a host of theirs


def _bytes(text: str) -> int:
    """A size such as ``64Mi`` in bytes."""
    match = SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--pool-size {text!r} is not a size", hint="write 64Mi, 2Gi or a number of bytes")
    return int(match[1]) * FACTORS[match[2]]


def _table(hosts: tuple[HostStatus, ...]) -> str:
    """Hosts as aligned columns."""
    if not hosts:
        return "the lab is not up"
    rows = [("HOST", "STATE", "ADDRESS", "LIBVIRT", "DOMAINS", "DETAIL")]
    for host in hosts:
        domains = "-" if host.domains is None else str(host.domains)
        detail = host.detail.splitlines()[0] if host.detail else ""
        rows.append((host.name, host.state, host.address, host.libvirt or "-", domains, detail))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip()
        for row in rows
    )


def main() -> None:
    """Run the group by itself, as ``python -m reconciler.cli.lab``."""
    try:
        lab()
    except ReconcilerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
