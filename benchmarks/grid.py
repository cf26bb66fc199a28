"""What the first suggestion of a sweep over 10^12 points costs, for grid and random, beside Optuna's grid.

Each figure is from a fresh process: reading the config, building the space, one suggestion; imports excluded.
Optuna lists its grid, so it gets a millionth of the points: at the full size it would not come back.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.harness import Figure, main

CHILD = """
import json, sys, time, tracemalloc
from besom.search import create_method
import besom.search.grid, besom.search.random
from besom.sweepfile import from_mapping

method, axes, trace = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "memory"
names = [f"axis{number}" for number in range(axes)]
config = {"method": method, "seed": 1, "parameters": {name: {"min": 1, "max": 100} for name in names}}
if sys.argv[4] == "when":
    for name in names[1:]:
        config["parameters"][name]["when"] = {"axis0": {"min": 2}}
if trace:
    tracemalloc.start()
started = time.perf_counter()
batch = create_method(from_mapping(config)).suggest(0, 1, None)
seconds = time.perf_counter() - started
assert len(batch.suggestions) == 1
print(json.dumps({"seconds": seconds, "bytes": tracemalloc.get_traced_memory()[1] if trace else 0}))
"""
PEER = """
import json, time, tracemalloc, sys
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
trace = sys.argv[1] == "memory"
values = {f"axis{number}": list(range(10)) for number in range(6)}
if trace:
    tracemalloc.start()
started = time.perf_counter()
study = optuna.create_study(sampler=optuna.samplers.GridSampler(values))
trial = study.ask()
point = {name: trial.suggest_int(name, 0, 9) for name in values}
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "bytes": tracemalloc.get_traced_memory()[1] if trace else 0}))
"""
AXES = 6  # of 100 values each: 10^12 points


def child(code: str, *arguments: str) -> dict[str, float]:
    """Run code in a fresh process and give the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def median_seconds(code: str, *arguments: str, repeats: int) -> float:
    """Give the median over fresh processes."""
    return statistics.median(child(code, *arguments)["seconds"] for _ in range(repeats))


def measure(quick: bool) -> list[Figure]:
    """Measure the first suggestion of 10^12 points."""
    repeats = 5 if quick else 25
    figures: list[Figure] = []
    for method, kind in (("grid", "flat"), ("random", "flat"), ("grid", "when"), ("random", "when")):
        label = method if kind == "flat" else f"{method} with conditions"
        seconds = median_seconds(CHILD, method, str(AXES), "time", kind, repeats=repeats)
        memory = child(CHILD, method, str(AXES), "memory", kind)["bytes"]
        figures += [
            Figure(f"{label}: first of 10^12", 1000 * seconds, "ms", 5.0, "lower"),
            Figure(f"{label}: peak memory", memory / 2**20, "MiB", 1.0, "lower"),
        ]
    ours = statistics.median(figure.value for figure in figures if figure.unit == "ms")
    theirs = 1000 * median_seconds(PEER, "time", repeats=1 if quick else 3)
    memory = child(PEER, "memory")["bytes"] / 2**20
    note = "for a millionth of the points"
    return [
        *figures,
        Figure("Optuna's GridSampler: first of 10^6", theirs, "ms", None, "lower", note),
        Figure("Optuna's GridSampler: peak memory", memory, "MiB", None, "lower", note),
        Figure("times faster than Optuna", theirs / ours, "x", 10.0, "higher", note),
    ]


if __name__ == "__main__":
    main("grid", measure)
