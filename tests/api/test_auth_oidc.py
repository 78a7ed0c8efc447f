"""Bearer tokens of an issuer: a real HTTP server with real keys, and tokens that are almost right."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from api.auth import oidc
from api.auth.policy import check_start
from reconciler.errors import UsageError
from reconciler.model.access import Grant, Role
from reconciler.model.api_config import ApiConfig, OidcConfig

WHO = "/api/v1/whoami"


@pytest.fixture(scope="module")
def keys():
    """Private keys by id; making them is the slow part."""
    rsas = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("r1", "r2")}
    return {**rsas, "e1": ec.generate_private_key(ec.SECP256R1())}


class LittleIssuer:
    """A discovery document and keys, over HTTP; what it says can be changed."""

    def __init__(self, keys):
        self.keys = keys
        self.shown = ["r1", "e1"]
        self.asked = []
        self.status = 200
        self.about = {}
        issuer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                told = {"/.well-known/openid-configuration": issuer.discovery(), "/keys": issuer.jwks()}
                body = json.dumps(told.get(self.path, {})).encode()
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def discovery(self):
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.about}

    def jwks(self):
        return {"keys": [self.jwk(name) for name in self.shown]}

    def jwk(self, name):
        kind = jwt.algorithms.RSAAlgorithm if name.startswith("r") else jwt.algorithms.ECAlgorithm
        return {**kind.to_jwk(self.keys[name].public_key(), as_dict=True), "kid": name, "use": "sig"}

    def token(self, kid="r1", header=None, key=None, algorithm=None, **claims):
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": "reconciler",
            "exp": now + 300,
            "preferred_username": "ann",
            "groups": ["ops"],
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        algorithm = algorithm or ("RS256" if kid.startswith("r") else "ES256")
        return jwt.encode(said, key or self.keys[kid], algorithm, headers={"kid": kid, **(header or {})})

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def issuer(keys):
    made = LittleIssuer(keys)
    yield made
    made.close()


@pytest.fixture
def site(make_site, issuer):
    roles = {"ops": "operator", "root": "admin"}
    return make_site(desired=False, oidc={"issuer": issuer.url, "audience": "reconciler", "roles": roles})


def asked(site, token, source="192.0.2.200"):
    headers = {"Authorization": f"Bearer {token}"}
    return site.client().simulate_get(WHO, headers=headers, remote_addr=source)


@pytest.mark.parametrize("kid", ["r1", "e1"])
def test_a_token_of_the_issuer_lets_in_with_the_roles_of_its_groups(site, issuer, kid):
    answer = asked(site, issuer.token(kid, email="ann@example.org"))
    assert answer.status_code == 200
    told = answer.json
    assert (told["name"], told["mail"], told["via"]) == ("ann", "ann@example.org", "oidc")
    assert [grant["role"] for grant in told["grants"]] == ["operator"]


def test_who_has_no_role_may_do_nothing(site, issuer):
    assert asked(site, issuer.token(groups=["others"])).status_code == 403
    assert asked(site, issuer.token(groups=None)).status_code == 403
    assert asked(site, issuer.token(groups={"ops": 1})).status_code == 403


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unsigned(issuer, algorithm):
    """``none``: no signature at all. HS256: signed with the public key, as if it were a secret."""
    claims = issuer.token().split(".")[1]
    header = _b64(json.dumps({"alg": algorithm, "kid": "r1", "typ": "JWT"}).encode())
    public = issuer.keys["r1"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = f"{header}.{claims}"
    signature = hmac.new(pem, body.encode(), hashlib.sha256).digest() if algorithm == "HS256" else b""
    return f"{body}.{_b64(signature)}"


def _wrong(issuer, keys):
    now = int(time.time())
    good = issuer.token()
    return {
        "over": lambda: issuer.token(exp=now - 60),
        "for ever": lambda: issuer.token(exp=None),
        "not yet": lambda: issuer.token(nbf=now + 120),
        "another audience": lambda: issuer.token(aud="other"),
        "no audience": lambda: issuer.token(aud=None),
        "another issuer": lambda: issuer.token(iss="https://evil.example"),
        "no issuer": lambda: issuer.token(iss=None),
        "another key": lambda: issuer.token(key=keys["r2"]),
        "an unknown key": lambda: issuer.token("r2"),
        "RS384": lambda: issuer.token(algorithm="RS384"),
        "PS256": lambda: issuer.token(algorithm="PS256"),
        "a key of another kind": lambda: issuer.token("r1", key=keys["e1"], algorithm="ES256"),
        "alg none": lambda: _unsigned(issuer, "none"),
        "alg None": lambda: _unsigned(issuer, "None"),
        "the public key as a secret": lambda: _unsigned(issuer, "HS256"),
        "a key of its own": lambda: issuer.token(
            "x", key=keys["r2"], algorithm="RS256", header={"jwk": issuer.jwk("r2"), "jku": issuer.url}
        ),
        "changed": lambda: good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "no name": lambda: issuer.token(preferred_username=None),
        "a name with lines": lambda: issuer.token(preferred_username="ann\nCo-authored-by: eve"),
        "a name that is none": lambda: issuer.token(preferred_username=["ann"]),
        "three words": lambda: "a.b.c",
        "very long": lambda: issuer.token(x="x" * 20000),
    }


def test_what_is_not_quite_a_token_of_the_issuer_does_not(site, issuer, keys):
    assert asked(site, issuer.token()).status_code == 200
    for at, (case, make) in enumerate(_wrong(issuer, keys).items()):
        assert asked(site, make(), f"192.0.2.{at}").status_code == 401, case


def test_a_little_difference_of_clocks_is_forgiven(site, issuer):
    now = int(time.time())
    assert asked(site, issuer.token(exp=now - 10, nbf=now + 10)).status_code == 200


def test_keys_are_asked_for_once_and_again_for_a_new_one(issuer, keys):
    clock = [0.0]
    config = OidcConfig(issuer=issuer.url, audience="reconciler", roles={"ops": Role.OPERATOR})
    known = oidc.Issuer(config, lambda: clock[0])
    for _ in range(5):
        known.caller(issuer.token())
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.shown = ["r2"]
    with pytest.raises(oidc.NotOursError):
        known.caller(issuer.token("r2"))  # strangers' keys must not make us ask each time
    clock[0] += oidc.ASK_EVERY + 1
    assert known.caller(issuer.token("r2")).name == "ann"
    with pytest.raises(oidc.NotOursError):
        known.caller(issuer.token("r1"))  # taken back
    assert len(issuer.asked) == 4


def test_an_issuer_that_does_not_answer_is_503_for_its_own_tokens_only(site, issuer):
    token = issuer.token()
    issuer.status = 500
    answer = asked(site, token)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert asked(site, site.token(Grant(Role.VIEWER))).status_code == 200
    assert asked(site, "rcl_wrong").status_code == 401


def test_a_hanging_issuer_holds_one_thread_and_no_more(issuer):
    began, go_on = threading.Event(), threading.Event()
    known = oidc.Issuer(OidcConfig(issuer=issuer.url, audience="reconciler"))
    known._fetch = lambda: (began.set(), go_on.wait(30), {})[2]
    token = issuer.token()

    def ask():
        with pytest.raises(oidc.NotOursError):
            known.caller(token)

    first = threading.Thread(target=ask)
    first.start()
    began.wait(30)
    with pytest.raises(oidc.UnavailableError):
        known.caller(token)  # would wait here for ever
    go_on.set()
    first.join()


@pytest.mark.parametrize(
    "about", [{"issuer": "https://evil.example"}, {"jwks_uri": "http://evil.example/keys"}, {"jwks_uri": 1}]
)
def test_a_discovery_document_of_somebody_else_is_not_believed(site, issuer, about):
    issuer.about = about
    assert asked(site, issuer.token()).status_code == 503


def test_without_an_issuer_a_jwt_is_no_token(make_site, issuer):
    assert asked(make_site(desired=False), issuer.token()).status_code == 401


def test_an_issuer_over_plain_http_elsewhere_is_refused():
    config = ApiConfig(oidc={"issuer": "http://sso.example.org", "audience": "x"})
    with pytest.raises(UsageError, match="https"):
        check_start(config, "127.0.0.1:0")


def test_a_role_may_lie_deeper_in_a_token(issuer):
    config = OidcConfig(
        issuer=issuer.url, audience="reconciler", roles_claim="realm_access.roles", roles={"ops": Role.ADMIN}
    )
    caller = oidc.Issuer(config).caller(issuer.token(realm_access={"roles": ["ops"]}))
    assert caller.grants == (Grant(Role.ADMIN),)
