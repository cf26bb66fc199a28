"""The frame every benchmark shares: measure, print a table or JSON, and hold figures against their bars.

A benchmark is a module with a function that measures and this last line:

    if __name__ == "__main__":
        main("grid", measure)

`python -m benchmarks.grid` prints a table; `--quick` measures less (under 60 s), `--json` prints one JSON
document with the facts of the machine, `--check` exits 1 when a figure misses its bar.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; it must be at most `bar` where lower is better, at least `bar` where higher is."""

    name: str
    value: float
    unit: str
    bar: float | None
    better: Literal["lower", "higher"]
    note: str = ""

    @property
    def ok(self) -> bool:
        """Say whether the figure keeps its bar; one without a bar always does, NaN never."""
        if self.bar is None:
            return True
        return self.value <= self.bar if self.better == "lower" else self.value >= self.bar


def main(name: str, measure: Callable[[bool], list[Figure]], arguments: Sequence[str] | None = None) -> None:
    """Run a benchmark as a command; leaves with 1 when `--check` finds a missed bar."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=measure.__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less: under 60 s")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    chosen = parser.parse_args(arguments)
    started = time.perf_counter()
    figures = measure(chosen.quick)
    seconds = time.perf_counter() - started
    if chosen.json:
        print(json.dumps(_document(name, figures, quick=chosen.quick, seconds=seconds), indent=2))
    else:
        print(_table(name, figures, seconds))
    missed = [figure.name for figure in figures if not figure.ok]
    if chosen.check and missed:
        print(f"benchmarks.{name}: missed the bar: {', '.join(missed)}", file=sys.stderr)
        raise SystemExit(1)


def best_of(repeats: int, action: Callable[[], object]) -> float:
    """Give the shortest of several timings of `action`, in seconds: what it costs on a quiet machine."""
    return min(_timings(repeats, action))


def median_of(repeats: int, action: Callable[[], object]) -> float:
    """Give the median of several timings of `action`, in seconds."""
    return statistics.median(_timings(repeats, action))


def _timings(repeats: int, action: Callable[[], object]) -> list[float]:
    timings: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        timings.append(time.perf_counter() - started)
    return timings


def machine() -> dict[str, Any]:
    """Give what a reader needs to judge the figures: the machine, its load now, versions and commit."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def _document(name: str, figures: Sequence[Figure], *, quick: bool, seconds: float) -> dict[str, Any]:
    return {
        "benchmark": name,
        "quick": quick,
        "seconds": round(seconds, 2),
        "machine": machine(),
        "figures": [
            {
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "bar": figure.bar,
                "better": figure.better,
                "ok": figure.ok,
                "note": figure.note,
            }
            for figure in figures
        ],
    }


def _table(name: str, figures: Sequence[Figure], seconds: float) -> str:
    rows = [(name, "value", "bar", "", "")]
    for figure in figures:
        sign = "≤" if figure.better == "lower" else "≥"
        bar = "" if figure.bar is None else f"{sign} {_number(figure.bar)} {figure.unit}"
        verdict = "" if figure.bar is None else ("ok" if figure.ok else "MISSED")
        rows.append((figure.name, f"{_number(figure.value)} {figure.unit}", bar, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    facts = machine()
    where = f"{facts['cores']} cores ({facts['cpu']}), load {facts['load']}, Python {facts['python']}"
    lines.append(f"{seconds:.1f} s on {where}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
