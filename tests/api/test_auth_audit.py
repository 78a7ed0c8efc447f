"""The audit record, the headers of answers, and the loopback address."""

import asyncio

import pytest
from conftest import machine
from sqlalchemy import delete, update

from api.app import routes
from api.auth.audit import is_write
from api.auth.limiter import Limiter, source_key
from api.operation import Operation
from reconciler.errors import StoreError, ThrottledError
from reconciler.model.access import Grant, Role
from reconciler.store import schema
from reconciler.store.base_access import AuditRecord

VIEWER, OPERATOR, ADMIN = (Grant(role) for role in Role)
VMS = "/api/v1/virtualmachines"


def newest(site):
    return site.store.audit(limit=1)[0]


def test_a_write_is_on_record_with_who_what_and_where(site):
    client = site.client(OPERATOR, name="ann")
    answer = client.simulate_put(
        f"{VMS}/web-1",
        json=machine("web-1"),
        headers={"X-Request-Id": "abc-1", "X-Forwarded-For": "10.9.9.9"},
        remote_addr="192.0.2.7",
    )
    assert answer.status_code == 201
    told = newest(site)
    assert (told.who, told.via, told.source) == ("ann", "token", "192.0.2.7")
    assert (told.method, told.path) == ("PUT", f"{VMS}/web-1")
    assert (told.action, told.object) == ("putVirtualMachine", "VirtualMachine/web-1")
    assert (told.status, told.request) == (201, answer.headers["x-request-id"])
    assert told.request.startswith("abc-1")
    assert told.revision == site.git("rev-parse", "HEAD")
    assert told.token in site.store.tokens()


def test_a_refused_write_is_on_record_with_the_reason(site):
    viewer = site.client(VIEWER, name="eve")
    assert viewer.simulate_delete("/api/v1/instancetypes/small").status_code == 403
    told = newest(site)
    assert (told.who, told.status, told.action) == ("eve", 403, "deleteInstanceType")
    assert "eve" in told.detail


def test_reading_leaves_no_record(site):
    client = site.client(ADMIN)
    client.simulate_get(VMS)
    client.simulate_get(f"{VMS}/none")
    client.simulate_get("/api/v1/tokens")
    assert site.store.audit() == ()


def test_wrong_credentials_are_on_record_but_do_not_fill_it(site):
    for number in range(40):
        site.client().simulate_get(VMS, headers={"Authorization": f"Bearer rcl_{number}"})
    told = site.store.audit()
    assert 5 <= len(told) <= 12
    assert {one.status for one in told} == {401}
    assert {one.who for one in told} == {""}


def test_a_record_is_one_line_whatever_the_request_says(site):
    client = site.client(OPERATOR, name="ann")
    client.simulate_delete(f"{VMS}/x%0D%0Aroot%20did%20it%1b[2J")
    assert newest(site).path.isprintable()
    assert newest(site).who == "ann"


def test_admins_read_it_and_nobody_else(site):
    admin = site.client(ADMIN, name="boss")
    admin.simulate_delete(f"{VMS}/none")
    found = admin.simulate_get("/api/v1/audit", params={"who": "boss"}).json["items"]
    assert [(one["who"], one["method"], one["status"]) for one in found] == [("boss", "DELETE", 404)]
    assert admin.simulate_get("/api/v1/audit", params={"before": str(found[0]["id"])}).json["items"] == []
    assert site.client(OPERATOR).simulate_get("/api/v1/audit").status_code == 403
    assert admin.simulate_delete("/api/v1/audit").status_code == 405


def test_nothing_on_record_is_changed_and_only_the_oldest_go(site):
    site.store.audit_kept = 10
    for number in range(200):
        site.store.add_audit([AuditRecord(0.0, str(number), "", "", "", "", "", "", "", 200, "")])
    kept = [one.who for one in site.store.audit(limit=1000)]
    assert kept[0] == "199"
    assert 10 <= len(kept) <= 21
    with pytest.raises(StoreError, match="never changed"), site.store._writing() as connection:
        connection.execute(update(schema.audit).values(who="nobody"))
    with site.store._writing() as connection:
        connection.execute(delete(schema.audit))  # the store itself; there is no such call in its protocol
    site.store.add_audit([AuditRecord(0.0, "next", "", "", "", "", "", "", "", 200, "")])
    assert newest(site).id == 201  # ids are never used again


def test_many_writes_at_once_are_all_on_record(site):
    import falcon.testing  # noqa: PLC0415

    token = site.token(OPERATOR)

    async def all_at_once():
        async with falcon.testing.ASGIConductor(site.app) as conductor:
            headers = {"Authorization": f"Bearer {token}"}
            return await asyncio.gather(
                *(conductor.simulate_delete(f"{VMS}/vm-{n}", headers=headers) for n in range(50))
            )

    answers = asyncio.run(all_at_once())
    told = site.store.audit(limit=1000)
    assert len(told) == 50
    assert {one.request for one in told} == {answer.headers["x-request-id"] for answer in answers}


def test_what_cannot_be_recorded_is_in_the_log(site, monkeypatch, caplog):
    def full(_records):
        raise StoreError("the disk is full")

    monkeypatch.setattr(site.store, "add_audit", full)
    assert site.client(OPERATOR, name="ann").simulate_delete(f"{VMS}/none").status_code == 404
    assert "ann" in caplog.text
    assert "disk is full" in caplog.text


@pytest.mark.parametrize(
    ("method", "about", "expected"),
    [
        ("POST", {}, True),
        ("DELETE", {"role": None}, True),
        ("GET", {}, False),
        ("GET", {"role": Role.OPERATOR}, True),  # as the older interfaces do
        ("GET", {"role": Role.ADMIN, "writes": False}, False),
        ("POST", {"writes": False}, False),
    ],
)
def test_what_may_change_something_is_a_write(method, about, expected):
    assert is_write(method, Operation("x", "", **about)) is expected


def test_every_responder_says_what_it_is(site):
    """One that does not could be asked by anybody who is known, and leave nothing on record."""
    methods = ("get", "post", "put", "patch", "delete", "head")
    silent = [
        f"{method.upper()} {path}"
        for path, resource in routes(site.services)
        for method in methods
        if hasattr(resource, f"on_{method}") and not hasattr(getattr(resource, f"on_{method}"), "operation")
    ]
    assert silent == []


OPEN = {"/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/docs"}


def test_only_these_paths_are_open_to_everybody(site):
    open_ = {
        path
        for path, resource in routes(site.services)
        for method in ("get", "post", "put", "patch", "delete")
        for responder in [getattr(resource, f"on_{method}", None)]
        if responder is not None and responder.operation.role is None
    }
    assert open_ == {*OPEN, "/api/v1/session"}
    nobody = site.client()
    for path, resource in routes(site.services):
        for method in ("get", "post", "put", "patch", "delete"):
            if hasattr(resource, f"on_{method}") and path not in open_:
                asked = path.replace("{", "").replace("}", "")
                assert nobody.simulate_request(method.upper(), asked).status_code == 401, path


# Headers


def test_every_answer_tells_the_browser_to_do_no_more_than_it_must(site):
    for client, path in (
        (site.admin, VMS),
        (site.client(), VMS),
        (site.client(), "/docs"),
        (site.admin, "/x"),
    ):
        headers = client.simulate_get(path, headers={"Origin": "https://evil.example"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control-")]
        assert "strict-transport-security" not in headers
        assert "server" not in headers


def test_answers_are_not_kept_by_those_in_between(site):
    admin = site.admin
    assert "private" in admin.simulate_get(VMS).headers["cache-control"]
    for path in ("/api/v1/tokens", "/api/v1/audit", "/api/v1/whoami"):
        assert admin.simulate_get(path).headers["cache-control"] == "no-store"


def test_a_preflight_gets_no_leave(site):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = site.client().simulate_options(f"{VMS}/web-1", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# Everybody on this machine


def local(site, host="127.0.0.1:8440", remote_addr="127.0.0.1", method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return (
        site.client()
        .simulate_request(method, "/api/v1/whoami", host=host, remote_addr=remote_addr, headers=headers)
        .status_code
    )


def test_everybody_is_an_admin_here_only_where_the_configuration_says_so(make_site):
    assert local(make_site(desired=False, anonymous=True)) == 200
    assert local(make_site(desired=False)) == 401


def test_a_name_of_somebody_else_that_leads_here_is_not_this_machine(make_site):
    site = make_site(desired=False, anonymous=True)
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8440", "", "0.0.0.0:8440"):
        assert local(site, host=host) == 401, host
    for host in ("localhost", "localhost:8440", "127.0.0.1", "[::1]:8440"):
        assert local(site, host=host) == 200, host


def test_another_machine_is_not_this_one(make_site):
    site = make_site(desired=False, anonymous=True)
    assert local(site, remote_addr="192.0.2.1") == 401
    assert local(site, remote_addr="::1") == 200


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP", "X_Forwarded_Host", "Via"])
def test_what_a_proxy_here_passes_on_is_not_from_here(make_site, header):
    assert local(make_site(desired=False, anonymous=True), **{header: "127.0.0.1"}) == 401


def test_a_foreign_page_in_a_browser_here_changes_nothing(make_site):
    site = make_site(desired=False, anonymous=True)
    body = {"name": "made", "grants": [{"role": "admin"}]}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"User-Agent": "Mozilla/5.0"},
    ):
        answer = site.client().simulate_post(
            "/api/v1/tokens", json=body, host="localhost", remote_addr="127.0.0.1", headers=headers
        )
        assert answer.status_code == 403
    assert site.store.tokens() == {}


def test_a_wrong_token_is_wrong_here_too(make_site):
    assert local(make_site(desired=False, anonymous=True), Authorization="Bearer rcl_wrong") == 401


# The limiter


def test_failures_are_forgiven_in_time():
    limiter = Limiter(burst=3, per_second=1.0)
    for _ in range(3):
        limiter.check("a", 0.0)
        limiter.fail("a", 0.0)
    with pytest.raises(ThrottledError) as refused:
        limiter.check("a", 0.0)
    assert refused.value.retry_after == pytest.approx(1.0)
    limiter.check("b", 0.0)
    limiter.check("a", 1.0)
    with pytest.raises(ThrottledError):
        limiter.check("a", -100.0)  # a clock that was set back forgives nothing


def test_the_limiter_does_not_grow_without_end():
    limiter = Limiter(kept=100)
    for number in range(1000):
        limiter.fail(str(number), 0.0)
    assert len(limiter) == 100


def test_one_customer_is_one_source():
    assert source_key("2001:db8:1:2:3:4:5:6") == source_key("2001:db8:1:2:ffff::1")
    assert source_key("2001:db8:1:2::") != source_key("2001:db8:1:3::")
    assert source_key("::ffff:192.0.2.1") == source_key("192.0.2.1")
    assert source_key("fe80::1%eth0") == source_key("fe80::2")
    assert source_key("") == ""
