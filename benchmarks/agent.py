"""What an agent adds to each run: the time of a sweep of trivial runs above that of the bare commands."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Figure, main
from besom.agent import run_agent
from besom.records import RunState
from besom.store import open_store
from besom.sweep import create_sweep
from besom.sweepfile import from_mapping

COMMANDS = {"true": ["/bin/true"], "python": [sys.executable, "-I", "-c", "pass"]}


def bare_seconds(command: list[str], runs: int) -> float:
    began = time.perf_counter()
    for number in range(runs):
        subprocess.run([*command, f"--x={number}"], check=True)
    return (time.perf_counter() - began) / runs


def agent_seconds(command: list[str], runs: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BESOM_DIR"] = folder
        store = open_store(f"sqlite:///{Path(folder) / 'besom.db'}")
        config = from_mapping(
            {
                "method": "grid",
                "command": [*command, "${args}"],
                "parameters": {"x": {"values": list(range(runs))}},
            }
        )
        sweep = create_sweep(store, config)
        began = time.perf_counter()
        run_agent(store, sweep.id)
        seconds = (time.perf_counter() - began) / runs
        finished = store.progress(sweep.id).count(RunState.FINISHED)
        store.close()
    if finished != runs:
        raise SystemExit(f"only {finished} of {runs} runs finished")
    return seconds


def measure(quick: bool) -> list[Figure]:
    """Measure what an agent with one worker adds to each of 50 trivial runs."""
    figures: list[Figure] = []
    for name, command in COMMANDS.items():
        rounds = 2 if quick else 5
        pairs = [(bare_seconds(command, 50), agent_seconds(command, 50)) for _ in range(rounds)]
        bare, agent = (min(seconds) for seconds in zip(*pairs, strict=True))
        note = f"{agent * 1000:.1f} ms with the agent, {bare * 1000:.1f} ms bare; 50 runs, best of {rounds}"
        figures.append(Figure(f"overhead per run ({name})", (agent - bare) * 1000, "ms", 30.0, "lower", note))
    return figures


if __name__ == "__main__":
    main("agent", measure)
