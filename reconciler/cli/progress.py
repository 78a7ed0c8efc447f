"""Live progress of a push: a line an action, with a counter, on standard error."""

from __future__ import annotations

import time

import click

from reconciler.model.plan import ActionResult, Outcome

_MARK = {
    Outcome.CHANGED: ("✓", "green"),
    Outcome.OK: ("=", "white"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.SKIPPED: ("-", "yellow"),
}


class Reporter:
    """Prints what the push tells, as ``[ 3/18] ✓ lab2 web-1/start 0.4s``."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    def __call__(self, news: ActionResult | str) -> None:
        """Take one finished action, or a sentence."""
        if isinstance(news, str):
            click.echo(f"  {news}", err=True)
            return
        self._done += 1
        mark, colour = _MARK[news.outcome]
        counter = f"[{self._done:>{len(str(self._total))}}/{self._total}]"
        tail = (
            f"  {news.message}"
            if news.outcome in (Outcome.FAILED, Outcome.SKIPPED)
            else f"  {news.seconds:.1f}s"
        )
        click.echo(f"  {counter} {click.style(mark, fg=colour)} {news.host:<12} {news.id}{tail}", err=True)
