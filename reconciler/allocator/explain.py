"""A decision told at length, for `reconciler explain`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.model.placement import Candidate, Decision


def explain_lines(decision: Decision) -> list[str]:
    """The decision as lines of text, without colours: the choice, the runners-up, and who was ruled out.

    For example::

        web-1 goes to h2: the best of 3 hosts that fit (best-fit)
          h2  0.812  best-fit 0.812
          h3  0.790  best-fit 0.790
        ruled out: 2 by memory, 1 by maintenance
          h1  is in maintenance
    """
    if decision.host is None:
        lines = [f"{decision.vm} has no place: {decision.message or 'no host was found'}"]
    else:
        lines = [f"{decision.vm} goes to {decision.message or decision.host}"]
    candidates = [decision.chosen, *decision.runners_up] if decision.chosen else [*decision.runners_up]
    lines += _table((each.host, _score(each)) for each in candidates)
    if decision.rejected:
        lines.append("ruled out: " + ", ".join(_counts(decision.rejected)))
        lines += _table(decision.reasons.items())
        untold = sum(decision.rejected.values()) - len(decision.reasons)
        if untold > 0 and decision.reasons:
            lines.append(f"  … and {untold} more")
    return lines


def _score(candidate: Candidate) -> str:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in candidate.parts.items())
    return f"{candidate.score:.3f}  {parts}".rstrip()


def _counts(rejected: Mapping[str, int]) -> Iterable[str]:
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return (f"{count} by {reason}" for reason, count in ordered)


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    known = list(rows)
    width = max((len(host) for host, _ in known), default=0)
    return [f"  {host:{width}}  {text}" for host, text in known]
