"""A libvirtd of our own with libvirt's test driver, whose state lives as long as it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt

_NOBODY = 65534


def start_unprivileged(home: Path) -> subprocess.Popen[bytes]:
    """A libvirtd of our own in an empty folder; a privileged one would use this machine's /run/libvirt.

    Its socket is ``home/libvirt-sock``, and is there once the daemon is up.
    """
    (home / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{home}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
    )
    user = {}
    if os.geteuid() == 0:
        shutil.chown(home, _NOBODY, _NOBODY)
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    places = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    return subprocess.Popen(
        ["libvirtd", "-f", home / "libvirtd.conf", "-p", home / "pid"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **dict.fromkeys(places, str(home))},
        stderr=subprocess.DEVNULL,
        **user,
    )


@contextmanager
def test_driver() -> Iterator[str]:
    """The URI of ``test:///default`` in another process, kept alive by a connection that stays open."""
    home = Path(tempfile.mkdtemp(prefix="libvirtd-"))
    process = start_unprivileged(home)
    try:
        socket = home / "libvirt-sock"
        for _ in range(1000):
            if socket.is_socket():
                break
            time.sleep(0.01)
        uri = f"test+unix:///default?socket={socket}"
        keeper = libvirt.open(uri)
        yield uri
        keeper.close()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)
