"""Discovery over ``qemu+tls``: certificates of our own, a libvirtd that listens, no ssh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.world import World

from reconciler.model.host import Host, HostStatus
from reconciler.observed.fleet import Observer

pytestmark = pytest.mark.lab


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path, address: str) -> None:
    """A certificate authority, and a certificate each for the host and for us."""
    folder.mkdir()
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    openssl(folder, "req", "-x509", *key, "cakey.pem", "-out", "cacert.pem", "-subj", "/CN=lab")
    authority = ("-CA", "cacert.pem", "-CAkey", "cakey.pem", "-CAcreateserial", "-extfile", "extension")
    for name, subject, extension in (
        ("server", address, f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n"),
        ("client", "reconciler", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / "extension").write_text(extension)
        openssl(folder, "req", *key, f"{name}key.pem", "-out", "request.pem", "-subj", f"/CN={subject}")
        openssl(folder, "x509", "-req", "-in", "request.pem", *authority, "-out", f"{name}cert.pem")


def test_a_host_is_observed_over_tls(world: World, tmp_path: Path) -> None:
    host = world.lab.hosts[0]
    pki = tmp_path / "pki"
    certificates(pki, host.address)
    configuration = tmp_path / "libvirtd.conf"
    files = {"key": "serverkey", "cert": "servercert", "ca": "cacert"}
    places = "".join(f'{key}_file = "{pki}/{file}.pem"\n' for key, file in files.items())
    configuration.write_text(f'listen_addr = "{host.address}"\nauth_unix_rw = "none"\n{places}')
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
