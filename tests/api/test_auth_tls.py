"""TLS and client certificates, over a real server with certificates of an authority of our own."""

import os
import socket
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from api.auth import certificates
from api.auth.policy import check_start
from api.listening import listen
from api.server import Server
from api.tls import server_context
from reconciler.errors import UsageError
from reconciler.model.access import Grant, Role
from reconciler.model.api_config import ApiConfig, TlsConfig

WHO = "/api/v1/whoami"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


class Authority:
    """Signs certificates into files."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.subject, self.key, None, days=30)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, purpose, *, days):
        now = datetime.now(UTC)
        begin = now - timedelta(days=60 if days < 0 else 1)
        made = x509.CertificateBuilder(
            self.subject, subject, key.public_key(), x509.random_serial_number(), begin, now + timedelta(days)
        ).add_extension(x509.BasicConstraints(ca=purpose is None, path_length=None), critical=True)
        if purpose is not None:
            names = [x509.DNSName("localhost")]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
            made = made.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return made.sign(self.key, hashes.SHA256())

    def make(self, *names, purpose=CLIENT, days=10, file=""):
        """A file with a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        made = self._sign(subject, key, purpose, days=days)
        place = self.folder / (file or f"{self.name}-{'-'.join(names)}-{purpose._name}-{days}.pem")
        place.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return place


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture
def served(make_site, ours):
    """An installation over TLS."""
    certificate = ours.make("server", purpose=SERVER, file="server.pem")
    tls = TlsConfig(certificate=str(certificate), client_ca=str(ours.file))
    site = make_site(desired=False, tls=tls, certificates={"ci": "operator", "boss": "admin"})
    with Server(site.app, listen("127.0.0.1:0"), tls=server_context(tls, ours.folder)) as server:
        yield SimpleNamespace(site=site, port=server.ports[0], certificate=certificate)


def ask(served, ours, certificate=None, path=WHO, **headers):
    context = ssl.create_default_context(cafile=ours.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    with httpx.Client(verify=context) as client:
        return client.get(f"https://localhost:{served.port}{path}", headers=headers)


def test_a_client_certificate_says_who_asks_and_their_role_the_configuration(served, ours):
    told = ask(served, ours, ours.make("ci")).json()
    assert (told["name"], told["via"]) == ("ci", "certificate")
    assert [grant["role"] for grant in told["grants"]] == ["operator"]


def test_without_one_a_token_is_as_good_and_answers_bind_the_browser_to_tls(served, ours):
    answer = ask(served, ours)
    assert answer.status_code == 401
    assert "max-age=" in answer.headers["strict-transport-security"]
    token = served.site.token(Grant(Role.VIEWER))
    assert ask(served, ours, Authorization=f"Bearer {token}").json()["via"] == "token"


def test_a_wrong_token_is_not_mended_by_a_right_certificate(served, ours):
    assert ask(served, ours, ours.make("boss"), Authorization="Bearer rcl_wrong").status_code == 401


def test_a_certificate_that_the_configuration_does_not_name_is_nobodys(served, ours):
    assert ask(served, ours, ours.make("stranger")).status_code == 401
    assert ask(served, ours, ours.make("ci", "boss")).status_code == 401  # two names are none


@pytest.mark.parametrize("case", ["another authority", "over", "a server's"])
def test_a_certificate_that_does_not_hold_ends_the_connection(served, ours, theirs, case):
    certificate = {
        "another authority": lambda: theirs.make("boss"),
        "over": lambda: ours.make("boss", days=-1),
        "a server's": lambda: ours.make("boss", purpose=SERVER),
    }[case]()
    with pytest.raises(httpx.TransportError):
        ask(served, ours, certificate)


def test_a_header_is_no_certificate(served, ours):
    headers = {"X-SSL-Client-CN": "boss", "X-Client-Cert": "boss", "Ssl-Client-Verify": "SUCCESS"}
    assert ask(served, ours, **headers).status_code == 401


def test_a_certificate_ends_while_its_connection_goes_on(ours):
    pem = ours.make("ci").read_text().partition("-----BEGIN PRIVATE")[0]
    scope = {"extensions": {"tls": {"client_cert_chain": (pem,)}}}
    known = {"ci": Role.VIEWER}
    now = datetime.now(UTC).timestamp()
    assert certificates.caller_of(scope, known, now).name == "ci"
    assert certificates.caller_of(scope, known, now + 11 * 86400) is None
    assert certificates.caller_of({"extensions": None}, known, now) is None


def test_old_tls_is_refused(served, ours):
    context = ssl.create_default_context(cafile=ours.file)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.port)) as plain, pytest.raises(OSError):  # noqa: PT011
        context.wrap_socket(plain, server_hostname="localhost")


def test_a_renewed_certificate_is_used_without_a_restart(served, ours):
    def serial():
        context = ssl.create_default_context(cafile=ours.file)
        with (
            socket.create_connection(("127.0.0.1", served.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            return connection.getpeercert()["serialNumber"]

    first = serial()
    text = served.certificate.read_bytes()
    served.certificate.write_bytes(text[: len(text) // 2])  # half of a renewal
    os.utime(served.certificate, ns=(1, 1))
    assert serial() == first
    ours.make("server", purpose=SERVER, file="server.pem")
    os.utime(served.certificate, ns=(2, 2))
    serial()  # notices
    assert serial() != first


def test_what_cannot_be_used_is_said_before_anything_is_served(tmp_path, ours):
    with pytest.raises(UsageError, match=r"nothing\.pem"):
        server_context(TlsConfig(certificate="nothing.pem"), tmp_path)
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(UsageError, match=r"empty\.pem"):
        server_context(TlsConfig(certificate="empty.pem"), tmp_path)
    certificate = ours.make("server", purpose=SERVER)
    with pytest.raises(UsageError, match="client authorities"):
        server_context(TlsConfig(certificate=str(certificate), client_ca="empty.pem"), tmp_path)


# Before anything is served

TLS = {"certificate": "a.pem"}


@pytest.mark.parametrize(
    ("listen_on", "about"),
    [
        ("0.0.0.0:8440", {}),
        ("[::]:8440", {}),
        ("192.0.2.1:8440", {}),
        ("0.0.0.0:8440", {"anonymous": True}),
        ("0.0.0.0:8440", {"anonymous": True, "tls": TLS}),
        ("0.0.0.0:8440", {"anonymous": True, "insecure_http": True}),
        ("no-such-host.invalid:8440", {"anonymous": True, "tls": TLS}),
        ("127.0.0.1:8440", {"certificates": {"ci": "viewer"}}),
        ("127.0.0.1:8440", {"certificates": {"ci": "viewer"}, "tls": TLS}),
    ],
)
def test_what_is_not_safe_there_is_not_served(listen_on, about):
    with pytest.raises(UsageError, match="not served"):
        check_start(ApiConfig(**about), listen_on)


@pytest.mark.parametrize("listen_on", ["127.0.0.1:8440", "[::1]:8440", ":8440", "127.9.9.9:1"])
@pytest.mark.parametrize("about", [{}, {"anonymous": True}])
def test_on_this_machine_nothing_more_is_needed(listen_on, about):
    assert check_start(ApiConfig(**about), listen_on) == ()


def test_plain_http_elsewhere_is_served_on_request_with_a_warning():
    assert check_start(ApiConfig(insecure_http=True), "0.0.0.0:8440")
    assert check_start(ApiConfig(tls=TLS), "0.0.0.0:8440") == ()
