"""Events as they happen, without a gap: a stream that broke goes on after the last one that was read.

The format is that of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx

from reconciler.client.transport import Query, Transport, read_problem
from reconciler.errors import ReconcilerError, UnavailableError

_PAUSE, _LONGEST = 0.5, 10.0

Message = tuple[str, str, str]
"""Event type, id and data of one message."""


def watch(
    transport: Transport,
    path: str,
    query: Query,
    *,
    after: str = "",
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[tuple[str, str, Any]]:
    """Type, id and data of each message, for ever.

    Args:
        transport: Where to.
        path: Of the stream.
        query: Its parameters.
        after: Id of the last message that is known; empty: begin now.
        sleep: Waits between attempts.

    Raises:
        ReconcilerError: It is refused. A server that goes away is waited for.
    """
    last, pause = after, _PAUSE
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        try:
            with transport.stream(path, query, headers) as response:
                if response.status_code >= 400:
                    response.read()
                    raise read_problem(response)
                for kind, id_, data in messages(response.iter_lines()):
                    last, pause = id_ or last, _PAUSE
                    if data:
                        yield kind, id_, _read(data)
        except UnavailableError as error:
            pause = max(pause, error.retry_after)
        except httpx.TransportError:
            pass
        sleep(pause)
        pause = min(pause * 2, _LONGEST)


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """The messages of a stream; comments (which keep it alive) and unfinished ones are passed over."""
    kind, id_, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data or id_:
                yield kind, id_, "\n".join(data)
            kind, id_, data = "message", "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            id_ = value
        elif name == "data":
            data.append(value)


def _read(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ReconcilerError("an event of the server is not JSON") from error
