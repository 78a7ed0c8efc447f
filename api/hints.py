"""The next step for a program: hints name commands, and whoever asks over HTTP has paths instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

COMMAND = "reconciler"
"""The user agent of ``reconciler --server``: its people type commands."""

_V1 = "/api/v1"
_NAME = r"(?P<name>[^;,)]+)"

Way = str | Callable[[str], str]


def _snapshots(name: str) -> str:
    kind, slash, rest = name.partition("/")
    if slash and kind.lower() == "volume":
        return f"GET {_V1}/volumes/{quote(rest, safe='')}/snapshots"
    return f"GET {_V1}/virtualmachines/{quote(name, safe='')}/snapshots"


def _path(before: str, after: str = "") -> Callable[[str], str]:
    return lambda name: f"{before}{quote(name, safe='')}{after}"


_WAYS: tuple[tuple[re.Pattern[str], Way], ...] = tuple(
    (re.compile(words), way)
    for words, way in (
        (r"reconciler leases\b", f"GET {_V1}/leases"),
        (r"ask for --ttl (?P<name>\S+)", lambda ttl: f"ask for a ttl of {ttl}"),
        (r"\(\?wait=(?P<name>\w+), --wait \w+\)", lambda wait: f"(?wait={wait})"),
        (r"reconciler get vms\b", f"GET {_V1}/virtualmachines"),
        (r"reconciler get hosts( -o json)?\b", f"GET {_V1}/hosts"),
        (r"reconciler get disks --kept", f"GET {_V1}/views/disks"),
        (r"reconciler get machinepools\b", f"GET {_V1}/virtualmachinepools"),
        (r"reconciler get (?P<name>volumes|networks)\b", lambda kind: f"GET {_V1}/{kind}"),
        (r"reconciler plan\b", f"GET {_V1}/plans/latest"),
        (r"reconciler apply\b", f"POST {_V1}/apply"),
        (r"give another --name\b", "give another name"),
        (rf"reconciler explain {_NAME}", _path(f"GET {_V1}/views/explain?about=")),
        (rf"reconciler start {_NAME}", _path(f"PATCH {_V1}/virtualmachines/", " with runStrategy Always")),
        (rf"reconciler snapshots {_NAME}", _snapshots),
        (rf"reconciler hosts declare-dead {_NAME}", _path(f"POST {_V1}/hosts/", "/declare-dead")),
        (rf"reconciler doctor {_NAME}", _path(f"GET {_V1}/hosts/")),
        (r"then run the same command again", "then send the same request again"),
    )
)


def over_http(text: str) -> str:
    """A hint, or a sentence that ends with one, with the path where it names a command that has one."""
    if "--" not in text and "command" not in text and COMMAND not in text:
        return text
    for words, way in _WAYS:
        text = words.sub(_said(way), text)
    return text


def _said(way: Way) -> Callable[[re.Match[str]], str]:
    return lambda found: way if isinstance(way, str) else way(found["name"])
