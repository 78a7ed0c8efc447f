"""The command line: one module a command group, every error a sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from reconciler import __version__
from reconciler.cli.adopt import adopt, forget
from reconciler.cli.apply import apply
from reconciler.cli.completion import completion
from reconciler.cli.doctor import doctor
from reconciler.cli.explain import explain
from reconciler.cli.get import describe, events, get
from reconciler.cli.hosts import hosts
from reconciler.cli.lab import lab
from reconciler.cli.plan import plan, render
from reconciler.cli.retry import retry
from reconciler.cli.run import run
from reconciler.cli.schema import schema
from reconciler.cli.validate import validate
from reconciler.errors import ReconcilerError
from reconciler.settings import environment

EX_USAGE = 64


class Commands(click.Group):
    """Lists commands in the order in which a newcomer meets them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The order of `add_command`, not the alphabet."""
        return list(self.commands)


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
    *(doctor, validate, plan, apply, run),
    *(get, describe, explain, events),
    *(adopt, forget, retry, hosts),
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
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more when it flushes.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def _show(error: ReconcilerError, color: bool | None) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + error.message, err=True, color=color)
    if error.hint:
        click.echo(click.style("hint:  ", fg="yellow") + error.hint, err=True, color=color)


if __name__ == "__main__":
    main()
