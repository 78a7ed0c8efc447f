"""The lab: throw-away libvirt hosts on one machine, for tests and for the demonstration.

``Lab(folder).up(hosts=3)`` brings three up, ``lab.host("lab1").virsh("list")`` looks into one, and
``lab.down()`` leaves nothing behind.
"""

from __future__ import annotations

from reconciler.lab.host import HostState, HostStatus, LabHost
from reconciler.lab.lab import Lab, default_directory, to_stderr
from reconciler.lab.packages import DEBIAN_PACKAGES

__all__ = ["DEBIAN_PACKAGES", "HostState", "HostStatus", "Lab", "LabHost", "default_directory", "to_stderr"]
