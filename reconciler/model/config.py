"""The configuration file, ``reconciler.yaml``: how this installation works, not which machines exist."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reconciler.model.api_config import ApiConfig
from reconciler.model.envelope import Identifier, Manifest
from reconciler.model.units import Duration, Size


class SourceConfig(Manifest):
    """Where the desired state is: a folder, or a git repository at a ref.

    Attributes:
        path: A folder of YAML, or (with `git` true) a repository's work tree or bare repository.
        git: Read the committed tree at `ref`, never the work tree.
        ref: Branch, tag or commit.
        remote: URL or name of a remote that the daemon fetches each period; without it nothing is fetched.
        folder: Only this folder of the tree; empty for all of it.
        max_file_size: Bytes; a larger YAML file is refused.
        image_folders: Folders in which image files on this machine lie; symbolic links do not lead out.
            ``null`` is every file that reconciler can read: only for those who trust all authors of manifests
            with those, since a machine can be made from any of them.
    """

    path: str = "."
    git: bool = False
    ref: str = "HEAD"
    remote: str | None = None
    folder: str = ""
    max_file_size: Size = 8 << 20
    image_folders: tuple[Annotated[str, Field(min_length=1)], ...] | None = None


class AllocatorConfig(Manifest):
    """Who chooses the host.

    Attributes:
        algorithm: first-fit, best-fit, worst-fit, dot-product, round-robin, random, or one that an
            entry point of the group ``reconciler.algorithms`` adds, or ``iallocator``.
        seed: For ``random``.
        weights: Weigher to factor, added to the algorithm's own score.
        command: Program and arguments for ``iallocator`` (Ganeti's protocol), for example
            ``[hail, --no-capacity-checks]``.
        timeout: Seconds for that program.
    """

    algorithm: str = "best-fit"
    seed: int = 0
    weights: dict[str, float] = {}
    command: tuple[str, ...] = ()
    timeout: Duration = 30

    @model_validator(mode="after")
    def _command_given(self) -> Self:
        if self.algorithm == "iallocator" and not self.command:
            raise ValueError("the algorithm 'iallocator' needs a command, for example [hail]")
        return self


class LimitsConfig(Manifest):
    """When a plan stops whole.

    Attributes:
        deletions: A plan stops if it deletes or replaces more machines than this.
        deletions_percent: Or more than this part of the machines that are ours, rounded up, so that a
            single deletion is always possible.
    """

    deletions: int = Field(default=10, ge=0)
    deletions_percent: int = Field(default=20, ge=0, le=100)


class HooksConfig(Manifest):
    """Playbooks that run on the hosts with work.

    Attributes:
        before: Runs before an apply; where it fails nothing is done on that host.
        after: Runs after an apply.
    """

    before: str | None = None
    after: str | None = None


class PushConfig(Manifest):
    """How ansible-runner is used.

    Attributes:
        forks: Hosts side by side.
        batch: Hosts in one run.
        timeout: Seconds for a run.
        artifacts: Runs whose artifacts are kept.
        parallel: Operations side by side on one host.
    """

    forks: int = Field(default=50, ge=1)
    batch: int = Field(default=500, ge=1)
    timeout: Duration = 3600
    artifacts: int = Field(default=20, ge=0)
    parallel: int = Field(default=4, ge=1)


class RetryConfig(Manifest):
    """When a machine that failed is tried again.

    Attributes:
        first: After the first failure.
        cap: At most; the time doubles with each failure, and half of it is left to chance.
    """

    first: Duration = 5
    cap: Duration = 600


class ImagesConfig(Manifest):
    """What becomes of images that nothing needs.

    Attributes:
        keep_unused_for: Seconds for which a version that no machine needs stays in its pool; then it is
            deleted, unless any disk lies over it.  ``null`` keeps all of them for ever.
    """

    keep_unused_for: Duration | None = 30 * 24 * 3600


class DaemonConfig(Manifest):
    """When the daemon ticks.

    Attributes:
        period: Seconds between ticks when nothing happens.
        settle: Seconds of events that are gathered into one tick.
        metrics: ``address:port`` of the Prometheus endpoint; without it there is none.
        log_format: ``text`` or ``json``.
    """

    period: Duration = 60
    settle: float = Field(default=0.05, ge=0)
    metrics: str | None = None
    log_format: Literal["text", "json"] = "text"


class ProvisionConfig(Manifest):
    """How the playbooks of ``spec.provision`` log in to machines.

    Attributes:
        enabled: Run them at all. They are code of the desired state's repository, and run on this machine
            with the daemon's rights: false where not everybody who commits there is to have those.
        user: Login user; a machine's annotation ``ansible/user`` wins.
        private_key_file: ssh key; without it those that ssh finds itself.
        parallel: Playbooks side by side.
    """

    enabled: bool = True
    user: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_.@-]{0,63}$")
    private_key_file: str | None = None
    parallel: int = Field(default=2, ge=1, le=64)


class SecretsConfig(Manifest):
    """Which secrets manifests may refer to, and how those are read.

    Whoever writes manifests reads what a secret holds, inside of a machine: so not every file that the daemon
    can read is one, nor every variable of its environment.

    Attributes:
        files: Folders, and single files, in which secrets and vaults lie; symbolic links do not lead out.
        env: Variables that are secrets: names, or the beginnings of names with ``*`` behind them.
        vault_password_file: Password of Ansible vaults: a file, or a program that prints it.
    """

    files: tuple[Annotated[str, Field(min_length=1)], ...] = ("/etc/reconciler/secrets",)
    env: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?$")], ...] = ("RECONCILER_SECRET_*",)
    vault_password_file: str | None = None


class Config(Manifest):
    """``reconciler.yaml``. Relative paths start at its folder.

    Attributes:
        owner: Name of this installation in the mark of its domains.
        source: The desired state.
        inventory: Ansible inventories: files, folders, scripts. One that lies in the source is
            not read as manifests, nor are the folders of variables beside it.
        hosts: Which hosts of the inventory are libvirt hosts of ours: an Ansible pattern, ``all`` by default.
        state_dir: Store and artifacts. Without it RECONCILER_STATE_DIR, else /var/lib/reconciler for root and
            ~/.local/state/reconciler for others.
        allocator: Who chooses the host.
        limits: When a plan stops whole.
        hooks: Playbooks of your own around an apply.
        push: How Ansible is used.
        retry: When a machine that failed is tried again.
        images: What becomes of images that nothing needs.
        daemon: When the daemon ticks.
        secrets: How secrets that manifests refer to are read.
        provision: How the playbooks of ``spec.provision`` log in to machines.
        api: The REST API.
    """

    owner: Identifier = "default"
    source: SourceConfig = SourceConfig()
    inventory: tuple[str, ...] = ()
    hosts: str = Field(default="all", min_length=1)
    state_dir: str | None = None
    allocator: AllocatorConfig = AllocatorConfig()
    limits: LimitsConfig = LimitsConfig()
    hooks: HooksConfig = HooksConfig()
    push: PushConfig = PushConfig()
    retry: RetryConfig = RetryConfig()
    images: ImagesConfig = ImagesConfig()
    daemon: DaemonConfig = DaemonConfig()
    secrets: SecretsConfig = SecretsConfig()
    provision: ProvisionConfig = ProvisionConfig()
    api: ApiConfig = ApiConfig()
