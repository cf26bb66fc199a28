"""What a training loop pays for `run.log({"loss": x})`, and whether its memory stays flat.

The floor is the least that is safe from a kill: `json.dumps` and one `write` to a file, in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.harness import Figure, main

CALLS = 1_000_000
QUICK_CALLS = 200_000

PROGRAM = """
import array, gc, json, os, sys, time

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def timed(call, count, timings, watch=lambda i: None):
    clock = time.perf_counter_ns
    for i in range(count):
        began = clock()
        call(i)
        timings[i] = clock() - began
        if not i & 0xFFFF:
            watch(i)
    ordered = sorted(timings[:count])
    return {name: ordered[min(count - 1, int(count * at))] / 1000 for name, at in
            {"median": 0.5, "p99": 0.99, "p999": 0.999}.items()}

count = int(sys.argv[1])
timings = array.array("q", bytes(8 * count))

file = os.open("floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
floor = timed(lambda i: os.write(file, json.dumps({"loss": i * 0.5}).encode()), count // 10, timings)

import besom
run = besom.init()
for i in range(1000):
    run.log({"loss": i * 0.5})
memory = []
began = time.perf_counter()
ours = timed(lambda i: run.log({"loss": i * 0.5}), count, timings, lambda i: memory.append(rss()))
seconds = time.perf_counter() - began
run_id = run.id
run.finish()
finish = time.perf_counter() - began - seconds
from besom.store import open_store
store = open_store()
rows, after = 0, 0
while page := store.history(run_id, after=after, limit=10_000):
    rows, after = rows + len(page), page[-1].seq
json.dump({"floor": floor, "ours": ours, "mean": seconds / count * 1e6, "finish": finish,
           "growth": max(memory) - memory[len(memory) // 10], "lost": count + 1000 - rows}, sys.stdout)
"""


def measure(quick: bool) -> list[Figure]:
    """Time each of many calls of `run.log` in a process of its own, a SQLite store behind it."""
    count = QUICK_CALLS if quick else CALLS
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(count)],
            cwd=folder,
            env={**os.environ, "BESOM_DIR": f"{folder}/.besom"},
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    ours, floor = found["ours"], found["floor"]
    note = f"{count:,} calls"
    return [
        Figure("median per call", ours["median"], "µs", 20.0, "lower", note),
        Figure("99th percentile", ours["p99"], "µs", None, "lower"),
        Figure("99.9th percentile", ours["p999"], "µs", None, "lower"),
        Figure("mean per call", found["mean"], "µs", None, "lower", "with the flusher's share"),
        Figure("json.dumps and one write", floor["median"], "µs", None, "lower", "the floor, median"),
        Figure("above the floor", ours["median"] / floor["median"], "times", None, "lower"),
        Figure("memory growth", found["growth"], "MB", 8.0, "lower", "from a tenth of the calls to the last"),
        Figure("logged and not in the store", found["lost"], "rows", 0.0, "lower"),
        Figure("finish", found["finish"], "s", None, "lower", "moves to the store what still waits"),
    ]


if __name__ == "__main__":
    main("log", measure)
