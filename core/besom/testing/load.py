"""For tests: many agents at once on one store, as light clients that take, report and end runs."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from besom.records import Batch, HistoryRow, Metric, Outcome, RunState, Suggestion, SweepDraft
from besom.store import open_store

PROCESSES = 4
REPORTS = 2


@dataclass(frozen=True, slots=True)
class Carried:
    """What a store carried: runs per second, and seconds per run of one agent, sorted."""

    rate: float
    seconds: tuple[float, ...]


def carry(url: str, *, agents: int, runs: int) -> Carried:
    """Let so many agents finish a grid of so many runs at once; AssertionError unless each ran just once."""
    store = open_store(url)
    draft = SweepDraft(config={}, name="load", method="grid", metric=Metric("loss"), expected_runs=runs)
    sweep = store.create_sweep(draft)
    for start in range(0, runs, 5_000):
        end = min(start + 5_000, runs)
        points = tuple(Suggestion(f"{number:x}", {"x": number}) for number in range(start, end))
        store.offer(sweep.id, Batch(points, end, exhausted=end == runs), version=1, cursor=start)
    store.close()
    shares = [len(range(first, agents, PROCESSES)) for first in range(min(PROCESSES, agents))]
    with ProcessPoolExecutor(len(shares), mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(_share, [url] * len(shares), [sweep.id] * len(shares), shares))
    # One clock for all processes: that they take a while to start is none of the store's doing.
    elapsed = max(ended for _, ended, _ in parts) - min(began for began, _, _ in parts)
    taken = Counter(run_id for _, _, part in parts for run_id, _ in part)
    store = open_store(url)
    found = store.list_runs(sweep.id)
    agents_seen = len(store.list_agents(sweep.id))
    rows = sum(len(store.history(run.id)) for run in found[:: max(1, runs // 200)])
    looked_at = len(found[:: max(1, runs // 200)])
    store.finish_sweep(sweep.id)
    progress = store.progress(sweep.id)
    store.close()
    assert set(taken.values()) == {1}, "a run was handed out twice"
    assert sorted(run.params["x"] for run in found) == list(range(runs))
    assert progress.counts == {RunState.FINISHED: runs}, progress.counts
    assert {run.attempt for run in found} == {1}
    assert rows == REPORTS * looked_at
    assert agents_seen == agents
    return Carried(runs / elapsed, tuple(sorted(seconds for _, _, part in parts for _, seconds in part)))


def _share(url: str, sweep_id: str, agents: int) -> tuple[float, float, list[tuple[str, float]]]:
    store = open_store(url)
    done: list[tuple[str, float]] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            agent = store.add_agent(sweep_id, host="load", pid=threading.get_native_id())
            before = time.perf_counter()
            while (run := store.claim(sweep_id, agent.id, lease_seconds=300)) is not None:
                for seq in range(1, REPORTS + 1):
                    row = HistoryRow(seq, seq, 0.0, {"loss": 1 / seq})
                    store.report(
                        run.lease, [row], summary={"loss": 1 / seq}, value=1 / seq, lease_seconds=300
                    )
                store.finish(run.lease, Outcome(RunState.FINISHED, 0))
                now = time.perf_counter()
                done.append((run.id, now - before))
                before = now
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that is waited for
            failed.append(error)

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.monotonic()
    store.close()
    if failed:
        raise failed[0]
    return began, ended, done
