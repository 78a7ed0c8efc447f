"""What editors show for what happens inside of a machine; see `descriptions`."""

from __future__ import annotations

from collections.abc import Mapping

GUEST: Mapping[str, Mapping[str, str]] = {
    "CloudInit": {
        "hostname": "Host name of the guest; by default the machine's name, as far as it can be one.",
        "sshAuthorizedKeys": "Public keys for the image's default user, one line each.",
        "userData": "A cloud-config mapping, or text passed as it is; {secretRef: …} stands for a secret.",
        "userDataFrom": "The whole user data from a secret.",
        "vendorData": "As userData; what a user says wins over it.",
        "networkConfig": "netplan's format, version 1 or 2; without it one is made of the interfaces.",
        "instanceId": "Change it to have cloud-init run again; by default the machine's uid.",
        "bus": "Of the CD-ROM: scsi, sata or ide; by default what the image most likely knows.",
    },
    "SecretRef": {
        "env": "A variable of the daemon's environment.",
        "file": "A file on the controller.",
        "vault": "A file that ansible-vault encrypted; goes with key.",
        "key": "The variable in the vault.",
    },
    "Readiness": {
        "agent": "The QEMU guest agent answers.",
        "address": "An address of the guest is known.",
        "tcpPort": "Something listens on this port, seen from the machine's host.",
        "timeout": "After so long from its start a machine that is not ready says so, for example 10m.",
    },
    "Provision": {
        "playbook": "Path of the playbook in the state repository.",
        "timeout": "For the whole run, for example 30m.",
    },
}
