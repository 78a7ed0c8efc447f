"""One machine with everything that its manifest names, and what follows from that alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.desired import DesiredState
from reconciler.model.domain import CONFIG_JSON, Applied, DiskConfig, DomainConfig
from reconciler.model.manifest import InstanceType, VirtualMachine
from reconciler.model.network import Network
from reconciler.model.storage import Image
from reconciler.planner.volumes import Attached, attached

IMAGE_DIGITS = 16
"""Digits of an image's digest that tell its versions apart."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a machine has, after its instance type. Memory and root disk in bytes.

    Attributes:
        cpus: Now.
        max_cpus: What it can grow to without a restart; never less than `cpus`.
        memory: Now.
        max_memory: What it can grow to without a restart; never less than `memory`.
        root: Size of the root disk; None means the image's, or no root disk of ours.
    """

    cpus: int
    max_cpus: int
    memory: int
    max_memory: int
    root: int | None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A machine with the objects that it names.

    Attributes:
        vm: The manifest.
        instance_type: Its size preset, or None.
        image: The image under its root disk, or None.
        template: Path of its XML template in the state repository (its own or its preset's), or None.
        template_text: The text of that template, or None.
        networks: The `Network` objects that its interfaces name, by name.
        volumes: The volumes that are disks of it.
        addresses: Interface name to the address that it shall have.
        copies: For a machine that is to be made as a copy: disk name to the disk that it begins as.
    """

    vm: VirtualMachine
    instance_type: InstanceType | None = None
    image: Image | None = None
    template: str | None = None
    template_text: str | None = None
    volumes: tuple[Attached, ...] = ()
    networks: Mapping[str, Network] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, DiskConfig] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.vm.metadata.name

    @property
    def sizes(self) -> Sizes:
        """Effective sizes: the machine's own fields win over its instance type's."""
        spec = self.vm.spec
        preset = self.instance_type.spec if self.instance_type else None
        cpus = spec.cpus or (preset.cpus if preset else 1)
        memory = spec.memory or (preset.memory if preset else 1 << 20)
        disk = spec.root_disk
        root = disk.size if disk else None
        if root is None and preset and (disk is None or disk.path is None):
            root = preset.root_disk_size
        return Sizes(
            cpus=cpus,
            max_cpus=max(cpus, spec.max_cpus or (preset and preset.max_cpus) or 0),
            memory=memory,
            max_memory=max(memory, spec.max_memory or (preset and preset.max_memory) or 0),
            root=root,
        )

    @property
    def has_root(self) -> bool:
        """True if the machine has a root disk: from an image, blank with a size, or an existing file."""
        disk = self.vm.spec.root_disk
        return self.image is not None or self.sizes.root is not None or (disk is not None and bool(disk.path))

    @property
    def firmware(self) -> str | None:
        """What it boots with; None when nobody said."""
        preset = self.instance_type.spec if self.instance_type else None
        firmware = self.vm.spec.firmware or (preset.firmware if preset else None)
        return str(firmware) if firmware else None

    @property
    def machine(self) -> str | None:
        """Machine type; None when nobody said."""
        return self.vm.spec.machine or (self.instance_type.spec.machine if self.instance_type else None)

    @property
    def arch(self) -> str | None:
        """Architecture: the machine's word or its image's; None when nobody said."""
        return self.vm.spec.architecture or (self.image.spec.architecture if self.image else None)


def blueprint(desired: DesiredState, vm: VirtualMachine, owner: str) -> Blueprint:
    """Gather what `vm` names. The desired state is complete: references resolve.

    Args:
        desired: Where it stands.
        vm: The machine.
        owner: The installation; the uids of volumes hang on it.
    """
    spec = vm.spec
    preset = desired.instance_types[spec.instance_type] if spec.instance_type else None
    template = spec.xml_template or (preset.spec.xml_template if preset else None)
    return Blueprint(
        vm=vm,
        instance_type=preset,
        image=desired.images[spec.image] if spec.image else None,
        template=template,
        template_text=desired.templates.get(template, "") if template else None,
        volumes=attached(desired, vm, owner),
        networks={
            interface.network: desired.networks[interface.network]
            for interface in spec.interfaces
            if interface.network is not None and interface.network in desired.networks
        },
    )


def digest(text: str) -> str:
    """Thirty-two hex digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def image_identity(image: Image | None) -> str:
    """``debian@1f2e…``: name and digest of an image; empty without one."""
    return f"{image.name}@{image.spec.digest[:IMAGE_DIGITS]}" if image else ""


def digest_unknown(image: Image) -> str:
    """Why nothing can be made from this image now."""
    return (
        f"the digest of the image {image.name} is not known, as {image.spec.checksums} was never read: it is "
        "asked again at the next tick, or state sha256 or sha512 instead"
    )


def image_name(identity: str) -> str:
    """The name in what `image_identity` made."""
    return identity.rpartition("@")[0]


def spec_hash(config: DomainConfig, plan: Blueprint, image: str) -> str:
    """Digest of everything that a push is made of.

    Args:
        config: What is pushed; the template's text is in it as a digest.
        plan: For what holds beyond the manifest's life: deletion policy, protection, stop timeout.
        image: The image's identity.
    """
    spec = plan.vm.spec
    promises = f"{image}\n{spec.deletion_policy}\n{spec.protect}\n{spec.stop_timeout}\n"
    return digest(promises + CONFIG_JSON.dump_json(config, exclude_defaults=True).decode())


def applied_state(plan: Blueprint, config: DomainConfig, owner: str, generation: int, image: str) -> Applied:
    """The mark that goes with a push of `config`."""
    return Applied(
        owner=owner,
        uid=config.uuid,
        name=plan.name,
        generation=generation,
        spec_hash=spec_hash(config, plan, image),
        config=config,
        image=image,
        deletion_policy=str(plan.vm.spec.deletion_policy),
        protect=plan.vm.spec.protect,
        stop_timeout=plan.vm.spec.stop_timeout,
    )
