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
    for name in options.names or found:
        start = time.perf_counter()
        ratios += found[name](options.quick)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    print(table(ratios, judged=not options.quick))
    return int(not options.quick and not all(ratio.met for ratio in ratios))


def benchmarks() -> Iterator[tuple[str, Run]]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("_"):
            continue
        run = getattr(importlib.import_module(f"benchmarks.{module.name}"), "run", None)
        if run is not None:
            yield module.name, run


def table(ratios: Iterable[Ratio], *, judged: bool) -> str:
    rows = [("", "RATIO", "AIM", "", "")]
    for ratio in ratios:
        verdict = ("met" if ratio.met else "MISSED") if judged and ratio.aim != "-" else ""
        rows.append((ratio.name, f"{ratio.value:.3g}x", ratio.aim, verdict, ratio.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
