"""What editors show when the pointer rests on a field: one line for each, by model and YAML name."""

from __future__ import annotations

from collections.abc import Mapping

_ENVELOPE = {
    "apiVersion": "Always reconciler/v1.",
    "kind": "What this document declares, for example VirtualMachine.",
    "metadata": "Name, labels and annotations.",
}
_MACHINE_TYPE = "libvirt's machine type, for example q35; without it the host chooses."
_TEMPLATE = "Path, inside the source, of a Jinja template for XML that has no field here."
_MAX_CPUS = "What cpus can grow to without a restart. Default: the same as cpus."
_MAX_MEMORY = "What memory can grow to without a restart. Default: the same as memory."

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "VirtualMachine": {**_ENVELOPE, "spec": "What the machine is made of, and where and when it runs."},
    "InstanceType": {**_ENVELOPE, "spec": "The sizes that machines of this type have."},
    "Image": {**_ENVELOPE, "spec": "Where the base disk comes from."},
    "Metadata": {
        "name": "Unique among objects of the kind; a machine's is also its domain's name in libvirt.",
        "labels": 'Text to text, for selectors. Quote what looks like a number: version: "1.10".',
        "annotations": "Text to text, for people and tools; nothing here reads them.",
    },
    "VirtualMachineSpec": {
        "instanceType": "Name of an InstanceType; the machine's own fields win over it.",
        "cpus": "Virtual cpus that the machine has now.",
        "maxCpus": _MAX_CPUS,
        "memory": "Memory that the machine has now, for example 2Gi; a plain number is bytes.",
        "maxMemory": _MAX_MEMORY,
        "architecture": "libvirt's word, for example x86_64; without it the image's or the host's.",
        "image": "Name of the Image that the root disk is laid over; without it the root disk is blank.",
        "rootDisk": "The disk that the machine boots from.",
        "disks": "Further disks, blank when they are made.",
        "interfaces": "Network interfaces, in the order in which the guest sees them.",
        "firmware": "bios or uefi; without it the host chooses.",
        "machine": _MACHINE_TYPE,
        "console": "A serial text console, or none.",
        "description": "Free text, shown by libvirt too.",
        "autostart": "Started by libvirt together with its host; without it nothing is changed there.",
        "runStrategy": "Always: kept running. Halted: kept off. Manual: left as it is. "
        "RerunOnFailure: started again after a crash, not after a shutdown.",
        "placement": "Where the machine may run.",
        "updatePolicy": "The strongest change made without asking again: Live, Restart or Replace.",
        "deletionPolicy": "What becomes of the disks when the machine is removed: Retain or Delete.",
        "stopTimeout": "How long the guest may take to shut down before the plug is pulled, for example 90s.",
        "protect": "Refuse to delete or replace the machine.",
        "suspend": "Leave the machine alone for now, whatever else stands here.",
        "ignore": "Fields that are set when the machine is made and never changed after.",
        "xmlTemplate": _TEMPLATE,
    },
    "InstanceTypeSpec": {
        "cpus": "Virtual cpus.",
        "maxCpus": _MAX_CPUS,
        "memory": "Memory, for example 2Gi; a plain number is bytes.",
        "maxMemory": _MAX_MEMORY,
        "rootDiskSize": "Size of the root disk of machines that state none, for example 10Gi.",
        "firmware": "bios or uefi; without it the host chooses.",
        "machine": _MACHINE_TYPE,
        "xmlTemplate": _TEMPLATE,
    },
    "VolumeRef": {"pool": "libvirt's name of the pool on the host.", "name": "The volume's name in it."},
    "ImageSpec": {
        "path": "A file on the controller; a relative path starts at the root of the source.",
        "url": "Where the hosts fetch the file; a digest or checksums are then required.",
        "volume": "A volume that is on the host already; it is copied. sha256 or sha512 is then required.",
        "sha256": "Digest of the file, as sha256sum prints it.",
        "sha512": "Digest of the file, as sha512sum prints it.",
        "checksums": "URL of the distribution's SHA256SUMS or SHA512SUMS; the url's last part is the name in it.",
        "format": "Format of the file: qcow2 or raw. Stated, never guessed.",
        "architecture": "Architecture that the image is for, for example x86_64.",
    },
    "RootDisk": {
        "size": "For example 10Gi; at least the image's. Without it the image's.",
        "pool": "Storage pool; without it the host's default.",
        "bus": "How the guest sees it.",
        "path": "A file that exists already on the host: used, never made, never deleted.",
        "format": "Format of the disk's file: qcow2 or raw.",
    },
    "ExtraDisk": {
        "name": "Short lower-case word, unique in the machine; never change it.",
        "size": "For example 10Gi. It can grow, never shrink.",
        "pool": "Storage pool; without it the host's default.",
        "bus": "How the guest sees it.",
        "path": "A file that exists already on the host: used, never made, never deleted.",
        "format": "Format of the disk's file: qcow2 or raw.",
    },
    "Interface": {
        "name": "Short lower-case word, unique in the machine. Default: net0, net1 … by place.",
        "network": "A libvirt network of the host; either this or bridge.",
        "bridge": "A bridge of the host; either this or network.",
        "model": "libvirt's word for the card, for example virtio or e1000e.",
        "mac": "For example 52:54:00:12:34:56; without it one is derived from the names, for ever the same.",
    },
    "Placement": {
        "host": "The only host where it may run, by its inventory name.",
        "hostSelector": "Labels that the host must have.",
        "antiAffinity": "Keep away from machines.",
        "spread": "Spread a group of machines evenly.",
    },
    "AntiAffinity": {
        "selector": "Labels of the machines to keep away from; every one must match.",
        "over": "Host label that makes two hosts the same place, or host itself.",
        "policy": "Required: rather not placed at all. Preferred: if possible.",
    },
    "Spread": {
        "selector": "Labels of the machines to spread; every one must match.",
        "over": "Host label to spread over, or host itself.",
        "maxSkew": "How many more machines one value may have than another.",
        "policy": "Required: rather not placed at all. Preferred: if possible.",
    },
}
