"""Runs the benchmarks and prints one table.

Each module of this folder that has a function ``run(quick: bool) -> Iterable[Ratio]`` is a benchmark.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.ratio import Ratio

Run = Callable[[bool], Iterable[Ratio]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Benchmarks, as ratios.")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that they run, proves nothing"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    options = parser.parse_args()
    found = dict(benchmarks())
    unknown = sorted(set(options.names) - found.keys())
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(found)}")
    ratios: list[Ratio] = []
    try:
        for name in options.names or found:
            start = time.perf_counter()
            ratios += found[name](options.quick)
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    finally:
        # Also when one benchmark fails: the figures of the others are worth having.
        print(table(ratios, judged=not options.quick))
    return 0


def benchmarks() -> Iterator[tuple[str, Run]]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("_"):
            continue
        run = getattr(importlib.import_module(f"benchmarks.{module.name}"), "run", None)
        if run is not None:
            yield module.name, run


def table(ratios: Iterable[Ratio], *, judged: bool) -> str:
    """One line for each ratio with its aim, and below it what it was made of."""
    rows = [("", "RATIO", "AIM", "")]
    notes = [""]
    for ratio in ratios:
        verdict = ("met" if ratio.met else "MISSED") if judged and ratio.aim != "-" else ""
        rows.append((ratio.name, f"{ratio.value:.3g}x", ratio.aim, verdict))
        notes.append(f"\n    {ratio.note}" if ratio.note else "")
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() + note for line, note in zip(lines, notes, strict=True))


if __name__ == "__main__":
    sys.exit(main())
