"""How much sooner 100 runs are in hand when they are claimed by one call instead of 100, on each store.

The bar is 3 where each call is a round trip; in a SQLite file, what is saved are commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.harness import Figure, main
from benchmarks.scale import stores
from besom.records import Batch, Run, Suggestion, SweepDraft
from besom.store import open_store
from besom.store.base import Store

SIZE = 100


def singly(store: Store, sweep_id: str) -> Sequence[Run | None]:
    """Claim run after run."""
    return [store.claim(sweep_id, "agent", lease_seconds=60) for _ in range(SIZE)]


def by_the_batch(store: Store, sweep_id: str) -> Sequence[Run | None]:
    """Claim them all at once."""
    return store.claim_batch(sweep_id, "agent", SIZE, lease_seconds=60)


def timed(store: Store, take: Callable[[Store, str], Sequence[Run | None]]) -> float:
    """Give the seconds that it takes to claim the runs of a new sweep."""
    sweep = store.create_sweep(SweepDraft(config={}, name="batches", method="grid", metric=None))
    points = tuple(Suggestion(f"k{number}", {"x": number}) for number in range(SIZE))
    store.offer(sweep.id, Batch(points, SIZE, exhausted=True), version=1, cursor=0)
    started = time.perf_counter()
    runs = take(store, sweep.id)
    seconds = time.perf_counter() - started
    assert [run.number if run else None for run in runs] == list(range(1, SIZE + 1))
    return seconds


def measure(quick: bool) -> list[Figure]:
    """Compare both ways in turns."""
    figures: list[Figure] = []
    with stores() as urls:
        for name, url in urls.items():
            store = open_store(url)
            pairs = [(timed(store, singly), timed(store, by_the_batch)) for _ in range(5 if quick else 25)]
            store.close()
            one_by_one, at_once = (1e3 * median(times) for times in zip(*pairs, strict=True))
            figures.append(
                Figure(
                    f"{name}: {SIZE} claims ÷ one of {SIZE} runs",
                    one_by_one / at_once,
                    "x",
                    None if name == "SQLite" else 3,
                    "higher",
                    f"{one_by_one:.1f} ms against {at_once:.1f}",
                )
            )
    return figures


if __name__ == "__main__":
    main("batches", measure)
