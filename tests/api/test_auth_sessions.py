"""Browsers: sessions, and what pages of other sites try with them."""

import base64
import json

import pytest

from api.auth.forgery import ForgedError, require_own_page
from api.auth.sessions import PLAIN_NAME, SECURE_NAME
from api.auth.tokens import id_of
from reconciler.model.access import Grant, Role
from reconciler.store.sql import open_store

VIEWER, OPERATOR, ADMIN = (Grant(role) for role in Role)
SESSION, WHO, TOKENS = "/api/v1/session", "/api/v1/whoami", "/api/v1/tokens"
NEW = {"name": "made", "grants": [{"role": "viewer"}]}
OURS = {"Origin": "http://api.test", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def site(make_site):
    return make_site(desired=False)


class Browser:
    """Keeps its cookie, and says what browsers say."""

    def __init__(self, site, token, scheme="http"):
        self.client, self.scheme = site.client(), scheme
        origin = {"Origin": f"{scheme}://api.test"}
        self.began = self.client.simulate_post(
            SESSION, json={"token": token}, headers=origin, protocol=scheme
        )
        self.cookie = self.began.headers.get("set-cookie", "").partition(";")[0]
        self.csrf = self.began.json.get("csrfToken", "")

    def ask(self, method, path, body=None, **headers):
        given = {"Cookie": self.cookie, "User-Agent": "Mozilla/5.0", **headers}
        given = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
        more = {} if body is None else {"json": body}
        return self.client.simulate_request(method, path, headers=given, protocol=self.scheme, **more)

    def make(self, **headers):
        """The most dangerous thing there is."""
        return self.ask("POST", TOKENS, NEW, **headers).status_code


def made(site):
    return "made" in [token.name for token in site.store.tokens().values()]


def test_a_session_reads(site):
    browser = Browser(site, site.token(VIEWER, name="ann"))
    assert browser.began.status_code == 201
    told = browser.ask("GET", WHO).json
    assert (told["name"], told["via"]) == ("ann", "session")
    assert browser.ask("GET", SESSION).json["csrfToken"] == browser.csrf


def test_the_cookie_is_out_of_reach(site):
    header = Browser(site, site.token(VIEWER)).began.headers["set-cookie"]
    assert header.startswith(f"{PLAIN_NAME}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in header.split(";")}
    assert "Domain" not in header


def test_over_tls_no_neighbour_can_set_it(site):
    browser = Browser(site, site.token(VIEWER), scheme="https")
    header = browser.began.headers["set-cookie"]
    assert header.startswith(f"{SECURE_NAME}=")
    assert "Secure" in header
    assert browser.ask("GET", WHO).status_code == 200
    plain = browser.cookie.replace(SECURE_NAME, PLAIN_NAME)
    assert browser.ask("GET", WHO, Cookie=plain).status_code == 401


def test_behind_a_proxy_with_tls_it_is_a_secure_one_too(site):
    answer = site.client().simulate_post(
        SESSION, json={"token": site.token(VIEWER)}, headers={"Origin": "https://api.test"}
    )
    assert answer.headers["set-cookie"].startswith(f"{SECURE_NAME}=")


def test_two_cookies_of_one_name_are_none(site):
    browser = Browser(site, site.token(ADMIN))
    other = Browser(site, site.token(VIEWER))
    assert browser.ask("GET", WHO, Cookie=f"{other.cookie}; {browser.cookie}").status_code == 401


def test_a_made_up_cookie_is_nobodys(site):
    for cookie in ("", "x", "'; --", "A" * 43, "A" * 5000, "../../x"):
        answer = site.client().simulate_get(WHO, headers={"Cookie": f"{PLAIN_NAME}={cookie}"})
        assert answer.status_code == 401, cookie


def test_a_session_ends_with_its_time(make_site):
    site = make_site(desired=False, session=60)
    browser = Browser(site, site.token(VIEWER))
    site.clock.added += 59
    assert browser.ask("GET", WHO).status_code == 200
    site.clock.added += 2
    assert browser.ask("GET", WHO).status_code == 401


def test_a_session_ends_with_its_token(site, tmp_path):
    soon, revoked = site.token(VIEWER, ttl=60), site.token(VIEWER)
    first, second = Browser(site, soon), Browser(site, revoked)
    elsewhere = open_store(tmp_path / "site-0" / "state")
    elsewhere.revoke_token(id_of(revoked), site.clock())
    elsewhere.close()
    assert second.ask("GET", WHO).status_code == 401
    assert first.ask("GET", WHO).status_code == 200
    site.clock.added += 61
    assert first.ask("GET", WHO).status_code == 401


def test_who_logs_out_is_out(site):
    browser = Browser(site, site.token(VIEWER))
    gone = browser.ask("DELETE", SESSION, X_CSRF_Token=browser.csrf, **OURS)
    assert gone.status_code == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert browser.ask("GET", WHO).status_code == 401


# Cross-site request forgery


def test_our_own_page_changes_things(site):
    browser = Browser(site, site.token(ADMIN))
    assert browser.make(X_CSRF_Token=browser.csrf, **OURS) == 201
    assert made(site)


def test_a_program_with_a_session_needs_only_the_word(site):
    browser = Browser(site, site.token(ADMIN))
    assert browser.make(X_CSRF_Token=browser.csrf) == 201


def test_without_the_word_a_cookie_changes_nothing(site):
    browser = Browser(site, site.token(ADMIN))
    for headers in (
        {},
        OURS,
        {**OURS, "X_CSRF_Token": "0" * 64},
        {**OURS, "X_CSRF_Token": ""},
        {**OURS, "X_CSRF_Token": "é"},
        {"Referer": "http://api.test/docs"},
    ):
        assert browser.make(**headers) == 403, headers
    assert not made(site)


def test_the_word_of_another_session_does_not_fit(site):
    mine, other = Browser(site, site.token(VIEWER)), Browser(site, site.token(ADMIN))
    assert other.make(X_CSRF_Token=mine.csrf, **OURS) == 403
    assert not made(site)


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://api.test.evil.example"},
    {"Origin": "http://api.test:8080"},
    {"Origin": "http://evil@api.test.evil.example"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://api.test"},
    {"Referer": "https://evil.example/http://api.test/"},
    {"Referer": "http://api.test@evil.example/"},
]


def test_a_foreign_page_that_knows_the_word_still_changes_nothing(site):
    browser = Browser(site, site.token(ADMIN))
    for headers in FOREIGN:
        assert browser.make(X_CSRF_Token=browser.csrf, **headers) == 403, headers
    assert not made(site)


def test_basic_that_a_browser_remembers_is_of_no_use_to_a_foreign_page(site):
    remembered = base64.b64encode(f"ann:{site.token(ADMIN, name='ann')}".encode()).decode()
    for headers in (*FOREIGN, {"User-Agent": "Mozilla/5.0 (X11)"}):
        given = {"Authorization": f"Basic {remembered}", **headers}
        assert site.client().simulate_post(TOKENS, json=NEW, headers=given).status_code == 403, headers
    assert not made(site)


def test_basic_works_for_programs_and_our_own_pages(site):
    basic = base64.b64encode(f"ann:{site.token(ADMIN, name='ann')}".encode()).decode()
    for at, headers in enumerate(({}, {"User-Agent": "curl/8.5"}, OURS)):
        given = {"Authorization": f"Basic {basic}", **headers}
        answer = site.client().simulate_post(TOKENS, json={**NEW, "name": f"made-{at}"}, headers=given)
        assert answer.status_code == 201


def test_a_bearer_token_works_from_wherever_it_is_known(site):
    assert site.client(ADMIN, Origin="https://ui.example").simulate_post(TOKENS, json=NEW).status_code == 201


def test_pages_that_the_configuration_names_may(make_site):
    site = make_site(desired=False, origins=["https://ui.example"])
    given = base64.b64encode(f"ann:{site.token(ADMIN, name='ann')}".encode()).decode()
    headers = {"Authorization": f"Basic {given}", "Sec-Fetch-Site": "cross-site"}
    client = site.client()
    refused = client.simulate_post(TOKENS, json=NEW, headers={**headers, "Origin": "https://ui.example.evil"})
    assert refused.status_code == 403
    assert (
        client.simulate_post(
            TOKENS, json=NEW, headers={**headers, "Origin": "https://ui.example"}
        ).status_code
        == 201
    )


def test_nobody_puts_their_session_into_somebody_elses_browser(site):
    answer = site.client().simulate_post(
        SESSION, json={"token": site.token(VIEWER)}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_form_is_no_body(site):
    """What a page can send anywhere without asking first."""
    browser = Browser(site, site.token(ADMIN))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = browser.client.simulate_post(
            TOKENS,
            body=json.dumps(NEW),
            headers={"Cookie": browser.cookie, "Content-Type": kind, "X-CSRF-Token": browser.csrf, **OURS},
        )
        assert answer.status_code == 415, kind
    assert not made(site)


def test_only_a_token_of_ours_begins_a_session(site):
    browser = Browser(site, site.token(ADMIN))
    cookie = browser.cookie.partition("=")[2]
    for body in ({}, {"token": None}, {"token": ["x"]}, {"token": cookie}, {"user": "ann"}):
        assert site.client().simulate_post(SESSION, json=body).status_code == 401


def test_who_has_no_session_gets_no_word(site):
    assert site.client(ADMIN).simulate_get(SESSION).status_code == 404


def test_the_scheme_of_the_browser_counts_downwards_only():
    own = {"host": "api.test", "origin": "http://api.test"}
    require_own_page(own, "http", "session")
    with pytest.raises(ForgedError):
        require_own_page(own, "https", "session")
    require_own_page({"host": "api.test:443", "origin": "https://API.test"}, "https", "session")
    require_own_page({"host": "[::1]:8440", "origin": "http://[::1]:8440"}, "http", "session")
