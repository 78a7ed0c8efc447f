"""What every command shares: the configuration it found, the rooms it opens, how it prints."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from pydantic import ValidationError

from reconciler.allocator import make_allocator
from reconciler.cli.playbooks import MachinePlaybooks
from reconciler.cli.remote import Remote, connect
from reconciler.cli.server import Server, chosen, server_options, token
from reconciler.desired.config import LoadedConfig, load_config
from reconciler.desired.draft import Draft
from reconciler.desired.inventory import Inventory
from reconciler.desired.last_good import LastGood, earlier_good
from reconciler.desired.source import Source, open_source
from reconciler.engine import Engine, Rooms
from reconciler.errors import NotFoundError, UsageError
from reconciler.external import run_program
from reconciler.model.config import DaemonConfig, HooksConfig, SourceConfig
from reconciler.model.host import Host
from reconciler.observed.fleet import Observer
from reconciler.observed.readiness import Prober
from reconciler.provisioning import Provisioning
from reconciler.push.provision import Provisioner
from reconciler.push.pusher import Pusher
from reconciler.secrets import SecretReader
from reconciler.settings import Environment, data_dir, environment
from reconciler.store.base import Store
from reconciler.store.sql import open_store
from reconciler.views import tables

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class App:
    """One invocation: options first, then the configuration file, then the environment.

    Each part is opened when first asked for, so that `reconciler schema` needs neither hosts nor store.
    """

    config_path: Path | None = None
    source_path: str | None = None
    inventories: tuple[str, ...] = ()
    state_path: Path | None = None
    environment: Environment = field(default_factory=environment)
    server: Server | None = None

    @functools.cached_property
    def remote(self) -> Remote | None:
        """The server that the command is about, or None: it is about this machine's installation."""
        if self.server is None:
            return None
        return connect(self.server, token(self.server, self.environment))

    @functools.cached_property
    def loaded(self) -> LoadedConfig:
        """The configuration file, or the defaults when there is none."""
        return load_config(self.config_path or self.environment.config)

    def override_daemon(self, **given: str | None) -> None:
        """Let options of the command line win over the configuration file's ``daemon`` part.

        Raises:
            UsageError: A value does not fit.
        """
        config = self.loaded.config
        wanted = {key: value for key, value in given.items() if value is not None}
        try:
            daemon = DaemonConfig.model_validate(config.daemon.model_dump() | wanted)
        except ValidationError as error:
            raise UsageError("; ".join(f"--{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error
        self.loaded = replace(self.loaded, config=config.model_copy(update={"daemon": daemon}))

    @functools.cached_property
    def state_dir(self) -> Path:
        """Folder of the store and the push's artifacts."""
        if self.state_path is not None:
            return self.state_path.absolute()
        configured = self.loaded.config.state_dir
        return self.loaded.base / configured if configured else self.environment.state_dir

    @property
    def shipped_inventory(self) -> bool:
        """True if nobody named an inventory, so that this machine is the only host."""
        return not self.inventories and not self.loaded.config.inventory

    @functools.cached_property
    def inventory_paths(self) -> tuple[Path, ...]:
        """The Ansible inventories; the shipped one (this machine alone) when none is named."""
        if self.inventories:
            return tuple(Path(path).absolute() for path in self.inventories)
        configured = self.loaded.config.inventory
        if configured:
            return tuple(self.loaded.base / path for path in configured)
        return (data_dir("inventory") / "hosts.yml",)

    @functools.cached_property
    def inventory(self) -> Inventory:
        """The hosts."""
        return Inventory(self.inventory_paths, self.state_dir, self.loaded.config.hosts)

    def hosts(self) -> Mapping[str, Host]:
        """The hosts by name."""
        return self.inventory.hosts()

    @property
    def source_folder(self) -> Path:
        """The folder where a new manifest belongs: the source's, or a git work tree's."""
        if self.source_path is not None:
            path, _, _ = self.source_path.rpartition("@")
            return Path(path if path and Path(path).is_dir() else self.source_path).absolute()
        config = self.loaded.config.source
        return self.loaded.base / config.path / config.folder

    @functools.cached_property
    def source_place(self) -> tuple[SourceConfig, Path]:
        """Where the desired state is, and where its path starts. ``--source`` is a folder or ``PATH@REF``."""
        if self.source_path is None:
            return self.loaded.config.source, self.loaded.base
        path, at, ref = self.source_path.rpartition("@")
        if at and path and Path(path).is_dir():
            return SourceConfig(path=path, git=True, ref=ref), Path.cwd()
        return SourceConfig(path=self.source_path), Path.cwd()

    @functools.cached_property
    def source(self) -> Source:
        """The desired state."""
        return open_source(*self.source_place, self._digests, self.inventory_paths)

    @functools.cached_property
    def kept(self) -> LastGood:
        """The desired state, or the last good one while a newer one is refused."""
        place = (*self.source_place, self._digests, self.inventory_paths)
        return LastGood(self.source, lambda: earlier_good(*place))

    def draft(self) -> Draft:
        """A change of the desired state, to be planned and then saved."""
        return Draft(*self.source_place, self._digests, self.inventory_paths)

    @property
    def _digests(self) -> Path:
        return self.state_dir / "image-digests.json"

    @functools.cached_property
    def store(self) -> Store:
        """The store."""
        return open_store(self.state_dir)

    @contextmanager
    def engine(
        self, on_change: Callable[[str], None] | None = None, *, guests: bool = False
    ) -> Iterator[Engine]:
        """The engine with every room it needs; connections are closed at the end.

        Args:
            on_change: For a daemon: called with a host's name when it has news. A daemon also keeps up the
                last good desired state while a newer one is refused.
            guests: Look whether guests are ready, and run the playbooks of those that are; a daemon does.
        """
        config = self.loaded.config
        observer = Observer(config.owner, on_change)
        source = LastGood(self.source) if on_change else self.source
        prober = Prober(on_change) if on_change or guests else None
        provisioning = self._provisioning(source, observer, on_change) if prober else None
        try:
            yield Engine(
                Rooms(
                    config=config,
                    source=source,
                    inventory=self.inventory,
                    observer=observer,
                    allocator=make_allocator(config.allocator, run_program),
                    pusher=Pusher(
                        config.push,
                        config.owner,
                        self.inventory_paths,
                        self.state_dir,
                        self._hooks(),
                        SecretReader(self.loaded.base, config.secrets),
                    ),
                    store=self.store,
                    prober=prober,
                    provisioning=provisioning,
                ),
                self.state_dir,
            )
        finally:
            if prober is not None:
                prober.close()
            if provisioning is not None:
                provisioning.close()
            observer.close()

    def _provisioning(
        self, source: Source | LastGood, observer: Observer, on_change: Callable[[str], None] | None
    ) -> Provisioning:
        config, base = self.loaded.config, self.loaded.base
        provisioner = Provisioner(config.provision, base, self.state_dir, config.secrets.vault_password_file)
        run = MachinePlaybooks(provisioner, source, observer, config.provision.enabled)
        return Provisioning(self.store, run, config.provision.parallel, on_change)

    def _hooks(self) -> HooksConfig:
        """The hook playbooks, with paths that start at the configuration file's folder."""
        hooks = self.loaded.config.hooks
        base = self.loaded.base
        return HooksConfig(
            before=str(base / hooks.before) if hooks.before else None,
            after=str(base / hooks.after) if hooks.after else None,
        )

    @property
    def color(self) -> bool:
        """Colour goes to a terminal whose owner did not say no."""
        return sys.stdout.isatty() and not self.environment.no_color


_INSTALLATION = ("config", "source", "inventory", "state_dir", "server", "token_file", "ca", "cert")
"""Options that say which installation a command is about, and how it is reached."""


def options(command: Command) -> Command:
    """Add the options that say which installation a command is about, and pass the `App` in."""

    @click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Configuration file [./reconciler.yaml, /etc/reconciler/reconciler.yaml].",
    )
    @click.option(
        "-s", "--source", metavar="PATH[@REF]", help="Desired state: a folder, or a git repository at a ref."
    )
    @click.option(
        "-i",
        "--inventory",
        metavar="PATH",
        multiple=True,
        help="Ansible inventory; may be given several times.",
    )
    @click.option(
        "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Store and artifacts."
    )
    @server_options
    @click.pass_context
    def wrapper(ctx: click.Context, /, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in _INSTALLATION}
        config, around = given["config"], environment()
        if config is not None and not config.is_file():
            raise UsageError(f"the configuration file {config} does not exist")
        ctx.obj = App(
            config,
            given["source"],
            given["inventory"],
            given["state_dir"],
            around,
            chosen(ctx.command_path, command, given, around),
        )
        try:
            return command(ctx.obj, **arguments)
        except NotFoundError as error:
            # What is not there is a mistake of the command line, here or behind a server.
            raise UsageError(error.message, hint=error.hint) from error

    return cast("Command", functools.update_wrapper(wrapper, command))


def output_option(command: Command) -> Command:
    """Add ``-o text|json``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="For people or for programs.",
    )(command)


def print_json(value: Any) -> None:
    """Print a JSON document for programs."""
    click.echo(json.dumps(value, indent=2, sort_keys=False, default=str))


def plural(count: int, one: str, many: str) -> str:
    """``1 machine is`` or ``3 machines are``."""
    return f"{count} {one if count == 1 else many}"


table = tables.table
"""Columns of text; see there."""
