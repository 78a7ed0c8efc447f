"""GitOps for virtual machines on plain libvirt hosts."""

__version__ = "0.1.0"
