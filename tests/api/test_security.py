"""What strangers send: names, headers and bodies that mean harm; over a real server where it counts."""

import json
import re
import socket
import threading
import urllib.parse
from dataclasses import replace

import httpx
import pytest
from conftest import Asker, machine

from api.app import create_app
from api.listening import listen
from api.server import Manners, Server
from reconciler.model.access import Caller, Grant, Role
from reconciler.model.request import Act

VIEWER, OPERATOR, ADMIN = (Grant(role) for role in Role)
VMS = "/api/v1/virtualmachines"


# Path traversal

NASTY = [
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%2F..%2Fsmall",
    "%2e%2e%2f%2e%2e%2fx",
    "..%5c..%5cx",
    "%2fetc%2fpasswd",
    "..",
    "%2e%2e",
    ".git%2fhooks%2fpost-commit",
    ".git",
    "x%00.yaml",
    "x%0a.yaml",
    "-rf",
    "%20x",
    "x%ff",
    "~root",
    "$(id)",
    "`id`",
    "{{7*7}}",
    "x" * 64,
]


@pytest.fixture(scope="module")
def files_of():
    def listed(site):
        """Every file outside of git's own, with what it holds."""
        found = [one for one in site.repository.parent.rglob("*") if one.is_file()]
        return {
            str(one.relative_to(site.repository.parent))
            for one in found
            if not one.is_relative_to(site.repository / ".git" / "objects")
        }

    return listed


def test_no_name_leads_out_of_the_folder(site, files_of):
    admin = site.admin
    before = files_of(site)
    for name in NASTY:
        plain = urllib.parse.unquote(name)
        for method, body in (
            ("PUT", machine(plain)),
            ("PUT", {"spec": machine("x")["spec"]}),
            ("DELETE", None),
        ):
            answer = admin.simulate_request(method, f"{VMS}/{name}", **({"json": body} if body else {}))
            assert answer.status_code < 500, (name, answer.text)
        answer = admin.simulate_post(VMS, json=machine(plain))
        assert answer.status_code < 500, (name, answer.text)
    tracked = site.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert all(one == "small.yaml" or one.startswith("api/virtualmachines/") for one in tracked)
    assert not [one for one in tracked if ".." in one.split("/")]
    made = files_of(site) - before
    assert not [
        one for one in made if not one.startswith(("source/api/virtualmachines/", "source/.git", "state"))
    ]
    assert not (site.repository / ".git" / "hooks" / "post-commit").exists()
    for place in ("tokens", "operations", "leases", "hosts"):
        for name in NASTY:
            assert admin.simulate_get(f"/api/v1/{place}/{name}").status_code < 500


def test_a_symbolic_link_in_the_repository_leads_nowhere(site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (site.repository / "api").symlink_to(outside)
    site.commit({})
    answer = site.admin.simulate_put(f"{VMS}/web-1", json=machine("web-1"))
    assert answer.status_code < 500
    assert list(outside.rglob("*")) == []


# Header injection, and other people's names


REASONS = [
    "x\nAuthor: eve <eve@example.org>",
    "x\r\n\r\nCo-authored-by: eve <eve@example.org>",
    "x\u2028Signed-off-by: eve <eve@example.org>",
    "x\n\nRequest-Id: another",
    "x\x00y",
    "--author=eve <eve@example.org>",
    "-F/etc/passwd",
    "x\n# comment\ncommit 123",
]


def test_a_reason_is_a_reason_and_nothing_more(site):
    client = site.client(OPERATOR, name="ann")
    for at, why in enumerate(REASONS):
        path = f"{VMS}/web-{at}"
        answer = client.simulate_put(path, json=machine(f"web-{at}"), params={"message": why})
        assert answer.status_code < 500, why
        if "\n" not in why and why.isascii() and "\x00" not in why:
            body = {"spec": {"cpus": 2}}
            assert client.simulate_patch(path, json=body, headers={"X-Reason": why}).status_code == 200
    form = "--format=%an|%(trailers:key=Request-Id,valueonly,separator=;)"
    told = site.git("log", form).splitlines()[:-1]
    assert len(told) >= len(REASONS)
    for line in told:
        name, request = line.split("|")
        assert name == "ann"
        assert "another" not in request
    for key in ("Co-authored-by", "Signed-off-by", "Author"):
        assert site.git("log", f"--format=%(trailers:key={key},valueonly)").strip() == ""


CALLERS = [
    "ann\nCo-authored-by: eve",
    "ann> <eve@example.org",
    "<eve@example.org>",
    "\x00",
    "...",
    "",
    "ann\u2028eve",
    "ann\ud800",
    "-c core.editor=x",
    "\x85ann",
]


def test_no_name_is_somebody_elses(site):
    """Names of other issuers are not ours to choose."""
    name = ""

    class Known:
        def authenticate(self, _headers, _scope):
            return Caller(name, "a@b\nCommitter: eve" if "ann" in name else "", (ADMIN,), "oidc")

    client = Asker(create_app(replace(site.services, authenticator=Known())))
    for at, name in enumerate(CALLERS):
        answer = client.simulate_put(f"{VMS}/web-{at}", json=machine(f"web-{at}"))
        assert answer.status_code == 201, answer.text
        top, _, message = site.git("cat-file", "commit", "HEAD").partition("\n\n")
        words = [line.split()[0] for line in top.splitlines()]
        assert words == ["tree", "parent", "author", "committer"], name
        assert "eve@example.org" not in site.git("log", "-1", "--format=%ae%ce")
        assert "Co-authored-by" not in message


def test_a_request_id_is_a_plain_word_wherever_it_goes(site):
    for given in ("x y", "x;y", "é", "x" * 65, "../x", "{{7*7}}", "<b>"):
        raw = given.encode().decode("latin-1")
        answer = site.admin.simulate_get("/healthz", headers={"X-Request-Id": raw})
        assert answer.headers["x-request-id"] != raw
        assert given not in answer.text


# JSONP


@pytest.fixture
def older(make_site):
    return make_site(older_apis={"orchestration": True, "reservations": "pool"})


SCRIPTS = [
    "alert(1)//",
    "x;alert(1)",
    "<script>alert(1)</script>",
    "x\nalert",
    "x\u2028alert",
    "x=1",
    "x[0]",
    "'x'",
    "x.constructor('y')",
    "eval",
    "x" * 1000,
    "é",
    "",
    " x",
    "x%00",
]


def test_a_callback_is_a_name_and_no_script(older):
    admin = older.admin
    for callback in SCRIPTS:
        answer = admin.simulate_get("/vm/types", params={"jsonp_callback": callback})
        told = answer.headers.get("content-type", "")
        assert "javascript" not in told or not answer.text.removeprefix("/**/").startswith(f"{callback}("), (
            callback
        )
        assert "html" not in told
        assert answer.headers["x-content-type-options"] == "nosniff"
        if callback.strip() and callback != "x":
            assert answer.status_code == 400, callback
    good = admin.simulate_get("/vm/types", params={"jsonp_callback": "jQuery17_1"})
    assert good.text.startswith("/**/jQuery17_1(")
    assert "javascript" in good.headers["content-type"]


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Referer": "https://evil.example/"},
    {"User-Agent": "Mozilla/5.0"},
]


def test_a_script_of_a_foreign_page_makes_no_machine_with_somebodys_cookie(older):
    began = older.client().simulate_post("/api/v1/session", json={"token": older.token(ADMIN)})
    cookie = {"Cookie": began.headers["set-cookie"].partition(";")[0]}
    head, recorded = older.git("rev-parse", "HEAD"), len(older.store.audit())
    client = older.client()
    for headers in FOREIGN:
        for path in (
            "/vm/create?name=x&instance_type=1&image_id=1",
            "/server/vm/create?name=x&instance_type=1&image_id=1&jsonp_callback=x",
            "/vm/destroy?vmid=1",
            "/volume/create?name=x&size=1",
            "/createVM/",
            "/checkoutVM/",
        ):
            answer = client.simulate_get(path, headers={**cookie, **headers})
            assert answer.status_code == 403, (path, headers)
        # Nor reads, where the answer is a script that the page runs.
        answer = client.simulate_get("/vm/types?jsonp_callback=steal", headers={**cookie, **headers})
        assert answer.status_code == 403
        assert '"types"' not in answer.text
    assert older.git("rev-parse", "HEAD") == head
    assert {one.status for one in older.store.audit()[:-recorded]} == {403}


def test_our_own_page_may_and_so_may_a_program_with_a_token(older):
    text = older.token(ADMIN)
    began = older.client().simulate_post("/api/v1/session", json={"token": text})
    cookie = {"Cookie": began.headers["set-cookie"].partition(";")[0]}
    for headers in (
        {**cookie, "Sec-Fetch-Site": "same-origin", "User-Agent": "Mozilla/5.0"},
        {**cookie, "Referer": "http://api.test/page", "User-Agent": "Mozilla/5.0"},
        {"Authorization": f"Bearer {text}"},
    ):
        assert older.client().simulate_get("/vm/destroy?vmid=1", headers=headers).status_code == 200


def test_the_older_paths_ask_who_it_is_like_all_others(older):
    nobody, viewer = older.client(), older.client(VIEWER)
    for path in (
        "/vm/types",
        "/vm/create?name=x&instance_type=1&image_id=1",
        "/checkoutVM/",
        "/getVM/?vm_id=1",
    ):
        assert nobody.simulate_get(path).status_code == 401, path
    for path in ("/vm/create?name=x&instance_type=1&image_id=1", "/vm/destroy?vmid=1", "/checkoutVM/"):
        assert viewer.simulate_get(path).status_code == 403, path
    assert viewer.simulate_get("/vm/types").status_code == 200


# Over a real server


@pytest.fixture
def served(make_site):
    site = make_site(max_body=100_000, body_timeout=1)
    site.url = ""
    with Server(site.app, listen("127.0.0.1:0"), manners=Manners(headers=0.3)) as server:
        site.port = server.ports[0]
        yield site


def head_of(site, method, path, *more):
    text = site.token(ADMIN)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {text}", *more, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _whole(said):
    """An answer that is all there; the connection may stay open behind it."""
    head, end, body = said.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and length is not None and len(body) >= int(length[1])


def talk(port, *parts, more=b"", limit=200_000_000):
    """Send, and read until the other side is done: what was said, and how much it took of ours."""
    taken, said = 0, b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        try:
            for part in parts:
                line.sendall(part)
            while more and taken < limit:
                line.sendall(more)
                taken += len(more)
        except OSError:
            pass
        try:
            while not _whole(said) and (chunk := line.recv(65536)):
                said += chunk
        except OSError:
            pass
    return said, taken


def test_a_hundred_megabytes_are_refused_before_they_are_read(served):
    head = head_of(served, "POST", VMS, "Content-Type: application/json", "Content-Length: 104857600")
    said, taken = talk(served.port, head, more=b"x" * 65536, limit=104857600)
    assert b" 413 " in said.partition(b"\r\n")[0] or taken < 104857600
    assert taken < 50_000_000


def test_nor_are_they_in_pieces_whose_sum_nobody_announced(served):
    head = head_of(served, "POST", VMS, "Content-Type: application/json", "Transfer-Encoding: chunked")
    said, taken = talk(served.port, head, more=b"10000\r\n" + b"x" * 65536 + b"\r\n", limit=104857600)
    assert b" 413 " in said.partition(b"\r\n")[0] or taken < 104857600
    assert taken < 50_000_000


def test_a_body_that_never_ends_is_not_waited_for(served):
    head = head_of(served, "POST", VMS, "Content-Type: application/json", "Content-Length: 1000")
    said, _ = talk(served.port, head, b'{"a":')
    assert b" 408 " in said.partition(b"\r\n")[0]


def test_headers_that_never_end_are_not_waited_for(served):
    said, _ = talk(served.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    assert b"200" not in said.partition(b"\r\n")[0]


def test_a_stranger_does_not_even_get_to_send_a_body(served):
    lines = [
        f"POST {VMS} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        "Content-Length: 50000",
        "",
        "",
    ]
    said, _ = talk(served.port, "\r\n".join(lines).encode())
    assert b" 401 " in said.partition(b"\r\n")[0]


TRAPS = [
    ("application/json", b"[" * 50_000),
    ("application/json", b'{"a":' * 16_000),
    ("application/yaml", b"[" * 50_000),
    ("application/yaml", b"- " * 40_000),
    ("application/yaml", b"a: &a [x]\n" + b"".join(b"b%d: [*a,*a]\n" % n for n in range(2000))),
    (
        "application/yaml",
        b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [*a%d,*a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
    ),
    ("application/yaml", b"!!python/object/apply:os.system [id]"),
    ("application/json", b'{"a":' + b"9" * 90_000 + b"}"),
    ("application/json", b'{"a":1e999999}'),
    ("application/json", b'{"a":"\\ud800"}'),
    ("application/json", b"\xff\xfe"),
    ("application/json", b'{"a":1,"a":2}'),
]


def test_a_body_that_is_a_trap_is_refused(site):
    before, admin = site.git("rev-parse", "HEAD"), site.admin
    for kind, body in TRAPS:
        answer = admin.simulate_post(VMS, body=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 413, 422), (body[:50], answer.text)
    assert site.git("rev-parse", "HEAD") == before


UNCLEAN = [
    "X-Request-Id: a\r\nX-Evil: 1",
    "X-Reason: a\rb",
    "X-Reason: a\nb",
    "X-Reason: a\x00b",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Host: a\r\nHost: b",
]


def test_what_is_no_clean_request_changes_nothing(served):
    before = served.git("rev-parse", "HEAD")
    body = json.dumps(machine("web-1")).encode()
    for line in UNCLEAN:
        said, _ = talk(served.port, head_of(served, "PUT", f"{VMS}/web-1", line) + body)
        first = said.partition(b"\r\n")[0]
        assert b"X-Evil" not in said
        assert b"200" not in first, line
        assert b"201" not in first, line
    assert served.git("rev-parse", "HEAD") == before


def test_no_answer_carries_a_line_that_somebody_slipped_in(served):
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}") as client:
        headers = {"Authorization": f"Bearer {served.token(ADMIN)}"}
        for name in ("x%0d%0aSet-Cookie:%20evil=1", "x%0aLocation:%20evil"):
            answer = client.put(f"{VMS}/{name}", json={"spec": machine("x")["spec"]}, headers=headers)
            assert answer.status_code in (400, 404, 422)
            assert "set-cookie" not in answer.headers
            assert "location" not in answer.headers


def test_many_who_guess_do_not_keep_out_one_who_knows(served):
    good = {"Authorization": f"Bearer {served.token(VIEWER)}"}
    base = f"http://127.0.0.1:{served.port}"
    assert httpx.get(f"{base}/api/v1/whoami", headers=good).status_code == 200
    stati = []

    def guess():
        with httpx.Client(base_url=base) as client:
            for number in range(10):
                wrong = {"Authorization": f"Bearer rcl_{number}"}
                stati.append(client.get("/api/v1/whoami", headers=wrong).status_code)

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(stati) == {401, 429}
    assert stati.count(401) <= 14  # some may look before the others have failed
    assert httpx.get(f"{base}/api/v1/whoami", headers=good).status_code == 200


def test_acts_are_asked_for_in_the_callers_name(site):
    site.commit({"web.yaml": json.dumps(machine("web-1"))})
    client = site.client(OPERATOR, name="ann")
    assert client.simulate_post(f"{VMS}/web-1/start", json={"by": "root"}).status_code in (202, 400, 422)
    assert client.simulate_post(f"{VMS}/web-1/stop").status_code == 202
    assert {(one.request.act, one.by) for one in site.store.open_requests()} >= {(Act.STOP, "ann")}
