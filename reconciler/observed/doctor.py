"""`reconciler doctor`: what would stop us on a host, each with its remedy. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from reconciler.model.host import Host
from reconciler.observed.findings import Finding, Level, judge
from reconciler.observed.probe import gather

__all__ = ["Finding", "Level", "diagnose", "diagnose_all"]

_SIDE_BY_SIDE = 16


def diagnose(host: Host) -> Iterator[Finding]:
    """Every finding about one host, in the order in which they have to be mended."""
    yield from judge(gather(host))


def diagnose_all(hosts: Iterable[Host]) -> Iterator[tuple[Host, tuple[Finding, ...]]]:
    """Several hosts side by side; each as soon as it and those before it are done."""
    listed = list(hosts)
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="doctor") as pool:
        yield from zip(listed, pool.map(lambda host: tuple(diagnose(host)), listed), strict=True)
