"""The command line: one module a command group, every error a sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from reconciler import __version__
from reconciler.cli.adopt import adopt, forget
from reconciler.cli.api import api
from reconciler.cli.apply import apply
from reconciler.cli.clone import clone
from reconciler.cli.completion import completion
from reconciler.cli.console import console
from reconciler.cli.doctor import doctor
from reconciler.cli.explain import explain
from reconciler.cli.get import describe, events, get
from reconciler.cli.hosts import hosts
from reconciler.cli.import_ import import_
from reconciler.cli.inventory import inventory
from reconciler.cli.lab import lab
from reconciler.cli.leases import checkin, checkout, extend, leases
from reconciler.cli.machine_pools import get_machine_pools  # noqa: F401  (it adds itself to `get`)
from reconciler.cli.networks import get_networks  # noqa: F401  (it adds itself to `get`)
from reconciler.cli.plan import plan, render
from reconciler.cli.power import restart, start, stop
from reconciler.cli.resize import resize
from reconciler.cli.retry import retry
from reconciler.cli.run import run
from reconciler.cli.schema import schema
from reconciler.cli.snapshot import delete_snapshot, restore, snapshot, snapshots
from reconciler.cli.storage import discard
from reconciler.cli.token import audit, token
from reconciler.cli.validate import validate
from reconciler.errors import ReconcilerError
from reconciler.settings import environment

EX_USAGE = 64


class Commands(click.Group):
    """Lists commands in the order in which a newcomer meets them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The order of `add_command`, not the alphabet."""
        return list(self.commands)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Likewise `--help`, which is printed here."""
        with _quietly():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Keep click from ending with 1 when the reader of our output (head, less) has seen enough."""
        with _quietly():
            return super().invoke(ctx)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        if not _reader_gone():
            raise
        raise _ReaderGoneError from None


class _ReaderGoneError(Exception):
    """Nobody reads what we print any more."""


def _reader_gone() -> bool:
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


EPILOG = """\b
First steps:
  reconciler doctor    what would stop us on each host
  reconciler plan      what would happen
  reconciler apply     make it so, once
  reconciler run       keep it so
\b
Exit codes: 0 done, 1 failed, 2 changes (plan --detailed-exitcode), 3 a mistake in
manifests, inventory or configuration, 4 a safety limit stopped the plan, 5 another
process acts on the store, 6 the saved plan is stale, 7 some machines are blocked,
64 the command line does not fit, 130 interrupted."""


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="reconciler")
def cli() -> None:
    """GitOps for virtual machines on plain libvirt hosts."""


_COMMANDS = (
    *(doctor, validate, plan, apply, run, api),
    *(get, describe, explain, events),
    *(adopt, forget, retry, hosts, discard),
    *(import_, inventory),
    *(start, stop, restart),
    *(snapshot, snapshots, restore, delete_snapshot),
    *(resize, clone, console),
    *(checkout, checkin, extend, leases),
    *(token, audit),
    *(render, schema, lab, completion),
)
for command in _COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The exit codes are in `EPILOG`.
    """
    color = False if environment().no_color else None
    try:
        result = cli.main(args=arguments, prog_name="reconciler", standalone_mode=False, color=color)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(EX_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except ReconcilerError as error:
        _show(error, color)
        sys.exit(error.exit_code)
    except (_ReaderGoneError, BrokenPipeError):
        # Quietly, as other tools; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def _show(error: ReconcilerError, color: bool | None) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True, color=color)
    if error.hint:
        click.echo(click.style("hint:  ", fg="yellow") + error.hint, err=True, color=color)


if __name__ == "__main__":
    main()
