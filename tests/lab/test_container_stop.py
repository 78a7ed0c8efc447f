"""A container is asked to end, and ended if it does not listen: the same step as for a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import libvirt
import pytest
from support.world import World

from reconciler.settings import data_dir

sys.path.insert(0, str(data_dir("playbooks") / "plugin_utils"))

from reconciler_apply.domains import stop
from reconciler_apply.guard import Guard
from reconciler_apply.session import Session

UID = "6a2f41a3-c54c-4cf1-8b3e-0123456789ab"
ROOT = "/var/lib/libvirt/images/box"
LISTENS = "trap 'exit 0' TERM; while :; do /bin/busybox sleep 1; done"
IS_DEAF = "trap '' TERM; while :; do /bin/busybox sleep 1; done"
BOX = f"""<domain type='lxc'><name>box</name><uuid>{UID}</uuid><memory unit='MiB'>64</memory>
  <metadata><r:vm xmlns:r='urn:reconciler:vm:v1' owner='default' uid='{UID}'>{{}}</r:vm></metadata>
  <os><type>exe</type><init>/init</init></os>
  <devices><console type='pty'/>
  <filesystem type='mount'><source dir='{ROOT}'/><target dir='/'/></filesystem></devices></domain>"""


@pytest.mark.lab
@pytest.mark.parametrize(
    ("init", "seconds", "says"),
    [
        pytest.param(LISTENS, 30, "shut down", id="listens"),
        pytest.param(IS_DEAF, 1, "powered off: it did not shut down within 1 s", id="deaf"),
        pytest.param(IS_DEAF, 0, "powered off", id="not asked"),
    ],
)
def test_a_container_is_asked_first(init: str, seconds: int, says: str, world: World, tmp_path: Path) -> None:
    host = world.lab.host("lab1")
    host.run(
        f"mkdir -p {ROOT}/bin {ROOT}/proc {ROOT}/sys {ROOT}/dev && cp /usr/bin/busybox {ROOT}/bin/busybox"
    )
    host.run(
        f"ln -sf busybox {ROOT}/bin/sh && cat > {ROOT}/init && chmod 755 {ROOT}/init",
        stdin=f"#!/bin/sh\n{init}\n",
    )
    conn = libvirt.open(host.uri.replace("qemu+", "lxc+", 1))
    try:
        domain = conn.defineXML(BOX)
        try:
            domain.create()
            step = {"id": "box/stop", "vm": "box", "uid": UID, "timeout": seconds}
            session = Session(conn, "default", Guard(tmp_path))
            with session.lane:
                assert stop(session, step) == says
                assert stop(session, step) is None
        finally:
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    finally:
        conn.close()
        host.run(f"rm -r {ROOT}")
