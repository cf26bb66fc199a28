"""How long a claim of `method: bayes` takes as an agent sees it, with 8 agents, as the sweep gets long.

The sweep is given so many finished runs; then 8 processes claim, hold each run for about 4 s, and finish it,
as agents do; one of them starts the process that makes suggestions ahead. Runs start at scattered times, as
they do once a sweep has been going for a while. A claim is timed from the first question to the run, pauses
between questions included; the first seconds, in which the proposer reads the history, are told apart. It
needs a machine with a core to spare: a proposer that gets none is late, and claims wait for it.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.harness import Figure, main
from besom.agent.ahead import Ahead
from besom.records import Metric, Outcome, Run, RunState, SweepDraft
from besom.scheduler import Scheduler
from besom.store import open_store
from besom.sweepfile import from_mapping

AGENTS = 8
SIZES = (10, 1_000, 100_000)
RUN_SECONDS = 4.0
SWEEP: dict[str, Any] = {
    "method": "bayes",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "width": {"min": 1, "max": 512},
        "dropout": {"min": 0.0, "max": 0.9},
        "kind": {"values": ["a", "b", "c"]},
        "x": {"min": -1.0, "max": 1.0},
        "y": {"min": -1.0, "max": 1.0},
    },
}


def loss(params: Any) -> float:
    """Give what a run reports."""
    return float((params["x"] - 0.3) ** 2 + (params["y"] + 0.2) ** 2 + 0.1 * abs(params["dropout"] - 0.2))


def prepare(url: str, size: int) -> str:
    """Create a sweep with so many finished runs; give its id."""
    config = from_mapping(SWEEP)
    store = open_store(url)
    sweep = store.create_sweep(SweepDraft(config=SWEEP, name="claims", method="bayes", metric=Metric("loss")))
    for index in range(size):
        params = config.space.draw(0, index)
        assert params is not None
        value = loss(params)
        outcome = Outcome(RunState.FINISHED, summary={"loss": value}, value=value)
        store.enqueue(sweep.id, config.space.suggestion(params), source="prior", outcome=outcome)
    store.close()
    return sweep.id


def agent(url: str, sweep_id: str, seconds: float, held: float, *, number: int, answers: Any) -> None:
    """Claim, hold and finish runs; put (time since the start, length) of each claim."""
    generator = random.Random(number)
    store = open_store(url)
    scheduler = Scheduler(store, sweep_id, agent_id=f"agent-{number}")
    found: list[tuple[float, float]] = []
    began = time.monotonic()
    time.sleep(held * generator.random())
    with Ahead(scheduler) as ahead:
        while time.monotonic() < began + seconds:
            asked = time.perf_counter()
            while not isinstance(run := scheduler.claim(), Run):
                pass
            found.append((time.monotonic() - began, time.perf_counter() - asked))
            ahead.look()
            time.sleep(held * (0.5 + generator.random()))
            value = loss(run.params)
            store.finish(run.lease, Outcome(RunState.FINISHED, summary={"loss": value}, value=value))
    store.close()
    answers.put(found)


def measure_claims(size: int, seconds: float, warm: float, held: float) -> tuple[list[float], list[float]]:
    """Give the lengths of claims in seconds: those at the start, and those after `warm` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'besom.db'}"
        sweep_id = prepare(url, size)
        context = multiprocessing.get_context("spawn")
        answers = context.Queue()
        agents = [
            context.Process(
                target=agent,
                args=(url, sweep_id, seconds, held),
                kwargs={"number": number, "answers": answers},
            )
            for number in range(AGENTS)
        ]
        for process in agents:
            process.start()
        found = [claim for _ in agents for claim in answers.get()]
        for process in agents:
            process.join()
    return [took for at, took in found if at < warm], [took for at, took in found if at >= warm]


def measure(quick: bool) -> list[Figure]:
    """Claim at every size of the sweep."""
    figures = [_figure(size, RUN_SECONDS, quick=quick) for size in (SIZES[:1] if quick else SIZES)]
    high = [figure.value for figure in figures]
    figures.append(Figure("longest p99 / that after 10 runs", max(high) / high[0], "x", 1.5, "lower"))
    return figures if quick else [*figures, _figure(1_000, 1.0, quick=quick)]


def _figure(size: int, held: float, *, quick: bool) -> Figure:
    """Measure claims; runs of one second, which no model keeps up with on few cores, have no bar."""
    warm = 10.0 + size / 5_000
    cold, claims = measure_claims(size, warm + (20.0 if quick else 80.0), warm, held)
    percentiles = [1000 * value for value in quantiles(claims, n=100)]
    note = (
        f"{len(claims)} claims, {AGENTS / held:g} a second; median {1000 * median(claims):.1f}, "
        f"p90 {percentiles[89]:.1f}, longest {1000 * max(claims):.0f}; "
        f"in the first {warm:.0f} s longest {1000 * max(cold, default=0.0):.0f}"
    )
    bar = 5.0 if held == RUN_SECONDS else None
    return Figure(f"claim after {size} runs of {held:g} s, p99", percentiles[98], "ms", bar, "lower", note)


if __name__ == "__main__":
    main("claim", measure)
