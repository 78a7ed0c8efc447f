"""Discovery over ``qemu+tls``: certificates of our own, a libvirtd that listens, no ssh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.world import World

from reconciler.model.host import Host, HostStatus
from reconciler.observed.fleet import Observer

pytestmark = pytest.mark.lab


def openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def certificates(folder: Path, address: str) -> None:
    """A certificate authority, and a certificate each for the host and for us."""
    folder.mkdir()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "cakey.pem", "-out", "cacert.pem",
            "-days", "2", "-subj", "/CN=lab", cwd=folder)  # fmt: skip
    for name, subject, extension in (
        ("server", address, f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n"),
        ("client", "reconciler", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / "extension").write_text(extension)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}key.pem", "-out", "request.pem",
                "-subj", f"/CN={subject}", cwd=folder)  # fmt: skip
        openssl("x509", "-req", "-in", "request.pem", "-CA", "cacert.pem", "-CAkey", "cakey.pem", "-CAcreateserial",
                "-out", f"{name}cert.pem", "-days", "2", "-extfile", "extension", cwd=folder)  # fmt: skip


def test_a_host_is_observed_over_tls(world: World, tmp_path: Path) -> None:
    host = world.lab.hosts[0]
    pki = tmp_path / "pki"
    certificates(pki, host.address)
    configuration = tmp_path / "libvirtd.conf"
    configuration.write_text(
        f'listen_addr = "{host.address}"\nauth_unix_rw = "none"\n'
        + "".join(
            f'{key}_file = "{pki}/{file}.pem"\n'
            for key, file in (("key", "serverkey"), ("cert", "servercert"), ("ca", "cacert"))
        )  # fmt: skip
    )
    host.kill_libvirtd()
    try:
        host.run(f"libvirtd --listen --daemon -f {configuration} -p /run/libvirt/libvirtd.pid")
        uri = f"qemu+tls://{host.address}/system?pkipath={pki}"
        observer = Observer("default")
        try:
            seen = observer.observe({"secure": Host("secure", uri)})["secure"]
            assert seen.status is HostStatus.READY, seen.message
            assert "default" in seen.pools
            strange = tmp_path / "strange"
            certificates(strange, host.address)
            refused = Host("secure", f"qemu+tls://{host.address}/system?pkipath={strange}")
            answer = observer.observe({"secure": refused})["secure"]
            assert not answer.known
            assert "certificate" in answer.message
        finally:
            observer.close()
    finally:
        host.kill_libvirtd()
        host.start_libvirtd()
