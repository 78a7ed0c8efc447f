"""Tokens: what lets in and what does not, what a maker may pass on, and what is left behind."""

import base64
import hashlib
import time

import pytest
from conftest import ROOT

from api.auth import tokens
from api.auth.limiter import BURST
from reconciler.errors import ConflictError, UsageError
from reconciler.model.access import Grant, Role
from reconciler.store.base_access import TokenRecord
from reconciler.store.sql import open_store

VIEWER, OPERATOR, ADMIN = (Grant(role) for role in Role)
WHO = "/api/v1/whoami"


@pytest.fixture
def site(make_site):
    return make_site(desired=False)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def asked(site, source="192.0.2.1", **headers):
    return site.client().simulate_get(WHO, headers=headers, remote_addr=source)


def test_nobody_comes_in_without_a_credential(site):
    answer = asked(site)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert answer.json["reason"] == "Unauthenticated"


def test_a_token_lets_its_owner_in(site):
    answer = asked(site, **bearer(site.token(VIEWER, name="ann", mail="ann@example.org")))
    assert answer.status_code == 200
    told = answer.json
    assert (told["name"], told["mail"], told["via"]) == ("ann", "ann@example.org", "token")
    assert [grant["role"] for grant in told["grants"]] == ["viewer"]


def test_basic_takes_the_tokens_name_or_id_and_no_other(site):
    text = site.token(VIEWER, name="ann")
    assert asked(site, **basic("ann", text)).json["via"] == "basic"
    assert asked(site, **basic(text.split("_")[1], text)).status_code == 200
    other = site.token(ADMIN, name="eve")
    assert asked(site, **basic("ann", other)).status_code == 401
    assert asked(site, **basic("ann", "")).status_code == 401
    assert asked(site, **basic("", text)).status_code == 401


def _wrong(text):
    prefix, ident, secret = text.split("_", 2)
    changed = ("A" if secret[0] != "A" else "B") + secret[1:]
    return {
        "another secret": f"{prefix}_{ident}_{changed}",
        "half of it": text[:-1],
        "more than it": text + "A",
        "its digest": f"{prefix}_{ident}_{hashlib.sha256(secret.encode()).hexdigest()[:43]}",
        "no id": f"{prefix}__{secret}",
        "an id that is none": f"{prefix}_{'a' * 12}_{secret}",
        "SQL": f"{prefix}_' OR 1=1 --_{secret}",
        "no token": "secret",
        "empty": "",
        "not ASCII": "rcl_é",
    }


def test_what_is_not_quite_the_token_does_not(site):
    nothing = asked(site).json["detail"]
    for at, (case, text) in enumerate(_wrong(site.token(ADMIN)).items()):
        given = f"Bearer {text}".encode().decode("latin-1")
        answer = asked(site, f"192.0.2.{at}", Authorization=given)
        assert answer.status_code == 401, case
        assert answer.json["detail"] == nothing  # never which part was wrong


def test_an_authorization_that_is_none_is_no_way_around(site):
    for header in ("Bearer", "Token abc", "Basic !!!", "Basic", "bearer  ", "Negotiate YII="):
        assert asked(site, Authorization=header).status_code == 401, header


def test_two_authorizations_are_none(site):
    text = site.token(ADMIN)
    # Two of the same name become one with a comma between (RFC 9110, 5.3).
    assert asked(site, Authorization=f"Bearer {text},Bearer {text}").status_code == 401


def test_a_token_ends_with_its_time(site):
    text = site.token(VIEWER, ttl=60)
    assert asked(site, **bearer(text)).status_code == 200
    site.clock.added += 61
    assert asked(site, **bearer(text)).status_code == 401


def test_a_revoked_token_ends_at_once_in_other_processes_too(site, tmp_path):
    text = site.token(VIEWER)
    assert asked(site, **bearer(text)).status_code == 200
    elsewhere = open_store(tmp_path / "site-0" / "state")
    assert elsewhere.revoke_token(tokens.id_of(text), site.clock())
    elsewhere.close()
    assert asked(site, **bearer(text)).status_code == 401


def test_the_store_has_no_secret(site, tmp_path):
    text = site.token(ADMIN)
    asked(site, **bearer(text))
    answer = site.client().simulate_post("/api/v1/session", json={"token": text})
    secret = text.split("_", 2)[2]
    cookie = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    site.store.close()
    held = b"".join(path.read_bytes() for path in (tmp_path / "site-0" / "state").iterdir() if path.is_file())
    assert secret.encode() not in held
    assert cookie.encode() not in held
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in held


def test_the_last_use_is_noted_at_most_once_a_minute(site):
    text = site.token(VIEWER)
    token = tokens.id_of(text)
    for _ in range(3):
        asked(site, **bearer(text))
    first = site.store.token_uses()[token].time
    site.clock.added += 30
    asked(site, **bearer(text))
    assert site.store.token_uses()[token].time == first
    site.clock.added += 31
    asked(site, **bearer(text))
    assert site.store.token_uses()[token].time > first + 60


# Making tokens


def test_an_admin_makes_and_revokes_tokens_over_the_api(site):
    body = {"name": "bob", "grants": [{"role": "viewer", "names": ["web-*"]}], "ttl": "1h"}
    made = site.admin.simulate_post("/api/v1/tokens", json=body)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    text = made.json["token"]
    assert asked(site, **bearer(text)).json["grants"][0]["names"] == ["web-*"]
    listed = site.admin.simulate_get("/api/v1/tokens").json["items"]
    assert "bob" in [one["name"] for one in listed]
    assert text.split("_", 2)[2] not in site.admin.simulate_get("/api/v1/tokens").text
    assert site.admin.simulate_delete(f"/api/v1/tokens/{made.json['id']}").status_code == 204
    assert asked(site, **bearer(text)).status_code == 401


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
def test_others_neither_see_nor_make_nor_end_tokens(site, role):
    text = site.token(VIEWER, name="victim")
    client = site.client(role)
    body = {"name": "mine", "grants": [{"role": "viewer"}]}
    assert client.simulate_get("/api/v1/tokens").status_code == 403
    assert client.simulate_post("/api/v1/tokens", json=body).status_code == 403
    assert client.simulate_delete(f"/api/v1/tokens/{tokens.id_of(text)}").status_code == 403
    assert asked(site, **bearer(text)).status_code == 200


def test_a_scoped_admin_passes_on_no_more_than_they_have(site):
    client = site.client(Grant(Role.ADMIN, names=("a-*",)), name="part")
    for grant in (
        {"role": "admin"},
        {"role": "viewer"},
        {"role": "admin", "names": ["*"]},
        {"role": "admin", "names": ["a-*", "b-1"]},
        {"role": "admin", "names": ["a?*"]},
        {"role": "viewer", "labels": {"team": "a"}},
    ):
        body = {"name": "part.more", "grants": [{"role": "viewer", "names": ["a-1"]}, grant]}
        assert client.simulate_post("/api/v1/tokens", json=body).status_code == 403, grant
    assert "part.more" not in [token.name for token in site.store.tokens().values()]


def test_a_scoped_admin_passes_on_a_part_and_does_not_see_the_rest(site):
    whole = site.token(ADMIN, name="whole")
    client = site.client(Grant(Role.ADMIN, names=("a-*",)), name="part")
    grants = [{"role": "operator", "names": ["a-1"], "kinds": ["VirtualMachine"]}]
    made = client.simulate_post("/api/v1/tokens", json={"name": "part.less", "grants": grants})
    assert made.status_code == 201
    # Leases and operations belong to names.
    other = client.simulate_post("/api/v1/tokens", json={"name": "root", "grants": grants})
    assert other.status_code == 403
    seen = {one["name"] for one in client.simulate_get("/api/v1/tokens").json["items"]}
    assert seen == {"part", "part.less"}
    assert client.simulate_get(f"/api/v1/tokens/{tokens.id_of(whole)}").status_code == 404
    assert client.simulate_delete(f"/api/v1/tokens/{tokens.id_of(whole)}").status_code == 404


def test_a_token_cannot_outlive_the_one_that_makes_it(site):
    client = site.client()
    headers = bearer(site.token(ADMIN, ttl=3600))
    for ttl in ({}, {"ttl": "2h"}):
        body = {"name": "longer", "grants": [{"role": "viewer"}], **ttl}
        assert client.simulate_post("/api/v1/tokens", json=body, headers=headers).status_code == 403
    body = {"name": "shorter", "grants": [{"role": "viewer"}], "ttl": "30m"}
    assert client.simulate_post("/api/v1/tokens", json=body, headers=headers).status_code == 201


def test_a_session_makes_no_token_that_outlives_its_own(site):
    began = site.client().simulate_post("/api/v1/session", json={"token": site.token(ADMIN, ttl=3600)})
    headers = {
        "Cookie": began.headers["set-cookie"].partition(";")[0],
        "X-CSRF-Token": began.json["csrfToken"],
    }
    body = {"name": "longer", "grants": [{"role": "viewer"}], "ttl": "2h"}
    assert site.client().simulate_post("/api/v1/tokens", json=body, headers=headers).status_code == 403


def test_tokens_made_with_a_revoked_one_go_on_unless_asked(site):
    text = site.token(ADMIN, name="stolen")
    made = site.client().simulate_post(
        "/api/v1/tokens", json={"name": "child", "grants": [{"role": "admin"}]}, headers=bearer(text)
    )
    grandchild = site.client().simulate_post(
        "/api/v1/tokens",
        json={"name": "grandchild", "grants": [{"role": "admin"}]},
        headers=bearer(made.json["token"]),
    )
    admin = site.admin
    assert admin.simulate_delete(f"/api/v1/tokens/{tokens.id_of(text)}").status_code == 204
    assert asked(site, **bearer(made.json["token"])).status_code == 200
    gone = admin.simulate_delete(f"/api/v1/tokens/{made.json['id']}", params={"made": "true"})
    assert gone.status_code == 204
    assert asked(site, **bearer(grandchild.json["token"])).status_code == 401


def test_two_valid_tokens_have_no_name_in_common(site):
    site.token(VIEWER, name="ann", ttl=60)
    with pytest.raises(ConflictError):
        site.token(ADMIN, name="ann")
    site.clock.added += 61
    site.token(ADMIN, name="ann")


def test_a_name_or_mail_that_could_be_more_is_refused(site):
    cases = [
        ("ann\nCo-authored-by: eve", ""),
        ("ann <eve@example.org>", ""),
        ("", ""),
        ("ann:b", ""),
        ("../ann", ""),
        ("x" * 64, ""),
        ("a2b3c4d5e6f7", ""),
        ("ann", "a@b\nCommitter: eve"),
        ("ann", "a@b> x <c@d"),
        ("ann", "nowhere"),
    ]
    for name, mail in cases:
        with pytest.raises(UsageError):
            tokens.make(site.store, tokens.TokenWish(name, (VIEWER,), mail), ROOT, site.clock())


def test_a_bad_wish_makes_nothing(site):
    admin = site.admin
    bodies = [
        {},
        {"name": "x"},
        {"name": "x", "grants": []},
        {"name": "x", "grants": [{"role": "god"}]},
        {"name": "x", "grants": [{"role": "viewer", "scope": "all"}]},
        {"name": "x", "grants": [{"role": "viewer"}], "ttl": "-1h"},
        {"name": "x", "grants": [{"role": "viewer"}], "ttl": 0},
        {"name": "x", "grants": [{"role": "viewer"}], "expires": None},
        {"name": ["x"], "grants": [{"role": "viewer"}]},
    ]
    for body in bodies:
        answer = admin.simulate_post("/api/v1/tokens", json=body)
        assert answer.status_code in (400, 422), body
    assert len(site.store.tokens()) == 1


def test_a_new_tokens_text_is_not_kept_for_who_repeats_the_request(site, tmp_path):
    body = {"name": "bob", "grants": [{"role": "viewer"}]}
    made = site.admin.simulate_post("/api/v1/tokens", json=body, headers={"Idempotency-Key": "k"})
    assert made.status_code == 201
    site.store.close()
    held = b"".join(path.read_bytes() for path in (tmp_path / "site-0" / "state").iterdir() if path.is_file())
    assert base64.b64encode(made.json["token"].encode())[4:20] not in held
    assert made.json["token"].encode() not in held


# Guessing


def test_guessing_is_slowed_by_source_and_those_who_are_in_stay_in(site):
    good = site.token(VIEWER)
    assert asked(site, **bearer(good)).status_code == 200
    stati = [asked(site, **bearer(f"rcl_{'a' * 12}_{'x' * 42}{n % 10}")).status_code for n in range(15)]
    assert stati[: int(BURST)] == [401] * int(BURST)
    assert stati[-1] == 429
    # A right one that nobody has shown before has to wait like all others: or guessing would not be slowed.
    fresh = site.token(VIEWER)
    refused = asked(site, **bearer(fresh))
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert asked(site, **bearer(good)).status_code == 200
    site.clock.added += 61
    assert asked(site, **bearer(fresh)).status_code == 200


def test_a_forwarded_address_is_not_believed(site):
    stati = [
        asked(site, **bearer("wrong"), **{"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"})
        for n in range(15)
    ]
    assert stati[-1].status_code == 429


def test_guessing_one_token_from_many_addresses_is_slowed(site):
    ident = tokens.id_of(site.token(ADMIN))
    client = site.client()
    stati = [
        client.simulate_get(
            WHO, headers=bearer(f"rcl_{ident}_{'x' * 41}{n:02}"), remote_addr=f"192.0.2.{n + 1}"
        ).status_code
        for n in range(15)
    ]
    assert stati[-1] == 429


def test_a_session_is_counted_like_any_other_guess(site):
    client = site.client()
    stati = [
        client.simulate_post("/api/v1/session", json={"token": f"rcl_{n}"}).status_code for n in range(15)
    ]
    assert (stati[0], stati[-1]) == (401, 429)


def test_checking_costs_the_same_whether_the_id_is_known(site):
    """Not by the clock, which tells nothing on a busy machine, but by the steps."""
    steps = []
    known = tokens.id_of(site.token(ADMIN))
    original = tokens.hmac.compare_digest
    tokens.hmac = type(
        "Counting", (), {"compare_digest": lambda a, b: steps.append(len(a)) or original(a, b)}
    )
    try:
        for ident in (known, "a" * 12):
            assert tokens.verify(site.store, f"rcl_{ident}_{'x' * 43}", time.time()) is None
    finally:
        import hmac  # noqa: PLC0415

        tokens.hmac = hmac
    assert steps == [64, 64]


def test_a_token_is_valid_until_it_ends():
    record = TokenRecord("a", "ann", "", (VIEWER,), "", made=0.0, made_by="root", expires=10.0)
    assert record.valid(9.9)
    assert not record.valid(10.0)
