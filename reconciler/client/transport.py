"""One request and its answer: time-outs, what is tried again, and errors.

What is tried again is what cannot be done twice by it: reads, and writes that carry an
``Idempotency-Key``, which the server does once.  Each write gets a key of its own here.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from reconciler.client.problems import error_of
from reconciler.errors import ReconcilerError, UnavailableError, UsageError

Query = Mapping[str, str | int | bool | None]

CONNECT = 5.0
"""Seconds to reach the server."""

ANSWER = 60.0
"""Seconds that an answer may take to begin, beyond what the server was asked to wait."""

PATIENCE = 20.0
"""Seconds for which a server that cannot answer now is asked again."""

_AGAIN = (429, 502, 503, 504)
_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no problem.

    Attributes:
        status: HTTP status.
        headers: Its headers, by any case.
        content: Its body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def data(self) -> Any:
        """The body as plain data; None for none.

        Raises:
            ReconcilerError: It is not what the API answers with.
        """
        if not self.content:
            return None
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise ReconcilerError(
                "the server's answer is not JSON", hint="is --server the address of reconciler's API?"
            ) from error


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a request may take.

    Attributes:
        waits: Seconds that the server was asked to wait.
        patience: Seconds for which a server that cannot answer now is asked again; None: as usual.
    """

    waits: float = 0.0
    patience: float | None = None


class Transport:
    """Speaks to one server. Safe from several threads.

    Args:
        server: ``https://host:port``; a path in front of the API's own is kept.
        token: Who we are.
        ca: PEM file of the authorities to believe; None: the system's.
        cert: PEM file with our certificate and its key.
        patience: Seconds for which a server that cannot answer now is asked again.
        sleep: Waits.

    Raises:
        UsageError: The address is none, or a file cannot be used.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        ca: str | None = None,
        cert: str | None = None,
        patience: float = PATIENCE,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.server = server.rstrip("/")
        url = _checked(self.server)
        if token and url.scheme == "http" and not _loopback(url.host):
            raise UsageError(
                f"a token does not go to {self.server}: anybody on the way could read it", hint="use https"
            )
        headers = {"Accept": "application/json", "User-Agent": "reconciler"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.server,
            headers=headers,
            verify=_tls(ca, cert),
            timeout=httpx.Timeout(ANSWER, connect=CONNECT),
            trust_env=False,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        pace: Pace = Pace(),
    ) -> Answer:
        """Ask, and ask again where that is safe.

        Args:
            method: ``GET`` and so on.
            path: Begins with a slash; names in it are percent-encoded already.
            query: Parameters; None is left out.
            body: Plain data, or None.
            headers: Further headers.
            pace: How long it may take.

        Raises:
            ReconcilerError: A problem, as the error that a command would have had.
            UnavailableError: The server cannot be reached, or cannot answer now.
        """
        sent = dict(headers or {})
        if method != "GET":
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        request = self._http.build_request(
            method,
            self.server + path,
            params={name: _text(value) for name, value in (query or {}).items() if value is not None},
            content=content,
            headers=sent,
            timeout=httpx.Timeout(ANSWER + pace.waits, connect=CONNECT),
        )
        return self._patiently(request, self._patience if pace.patience is None else pace.patience)

    def stream(self, path: str, query: Query, headers: Mapping[str, str]) -> Any:
        """An open answer (a context manager of `httpx.Response`) that is read line by line."""
        params = {name: _text(value) for name, value in query.items() if value is not None}
        timeout = httpx.Timeout(ANSWER, connect=CONNECT)
        return self._http.stream(
            "GET", self.server + path, params=params, headers=dict(headers), timeout=timeout
        )

    def _patiently(self, request: httpx.Request, patience: float) -> Answer:
        pause, left = _PAUSE, patience
        while True:
            try:
                return _answer(self._http.send(request))
            except UnavailableError as error:
                wait = max(pause * random.uniform(0.5, 1.0), error.retry_after)  # noqa: S311 - only spreads load
                if wait > left:
                    raise
            except httpx.TransportError as error:
                wait = pause * random.uniform(0.5, 1.0)  # noqa: S311
                if wait > left or not _worth_it(error):
                    raise _unreachable(self.server, error) from error
            self._sleep(wait)
            left -= wait
            pause = min(pause * 2, _LONGEST_PAUSE)


def read_problem(response: httpx.Response) -> ReconcilerError:
    """The error that a response of 400 or more is; its body must have been read."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    return error_of(
        response.status_code,
        problem if isinstance(problem, dict) else {},
        _seconds(response.headers.get("Retry-After")),
    )


def _answer(response: httpx.Response) -> Answer:
    if response.status_code >= 400:
        raise read_problem(response)
    return Answer(response.status_code, response.headers, response.content)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _worth_it(error: httpx.TransportError) -> bool:
    """False for what will be no better in a second: a certificate that is not believed."""
    return not isinstance(error.__cause__ or error.__context__, ssl.SSLError) and "CERTIFICATE" not in str(
        error
    )


def _unreachable(server: str, error: httpx.TransportError) -> UnavailableError:
    if isinstance(error, httpx.TimeoutException):
        return UnavailableError(f"{server} did not answer in time")
    hint = (
        "name the authority with --ca"
        if "CERTIFICATE" in str(error)
        else "is `reconciler api` running there?"
    )
    return UnavailableError(f"cannot reach {server}: {error}", hint=hint)


def _checked(server: str) -> httpx.URL:
    if any(c.isspace() or not c.isprintable() for c in server):
        raise UsageError(f"{server!r} is no address of a server", hint="write https://host:port")
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL as error:
        raise UsageError(f"{server!r} is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise UsageError(f"{server!r} is no address of a server", hint="write https://host:port")
    return url


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _tls(ca: str | None, cert: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert)
    except OSError as error:
        raise UsageError(f"cannot use {ca or cert}: {error}") from error
    return context


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
