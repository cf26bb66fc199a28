"""The runs that earlier drivers of a sweep have left running, and the jobs that they are in."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from besom.records import Outcome, Run, RunState, Sweep
from besom.store.base import Store
from besom_sagemaker.book import Book
from besom_sagemaker.cloud import Cloud
from besom_sagemaker.fleet import Fleet, Job

HOST = "sagemaker@"
"""What the host of an agent that is a driver begins with: so a driver knows the runs of those before it."""


def left_running(
    store: Store,
    sweep: Sweep,
    *,
    cloud: Cloud,
    fleet: Fleet,
    book: Book,
    here: Collection[str],
    lease_seconds: float,
) -> Iterator[Job | Run]:
    """Give the jobs to go on with, and the runs that never got into one; `here` are ids that are not sought.

    May fail at any point, and be asked again with what it gave before among those that are here.
    """
    ours = {one.id for one in store.list_agents(sweep.id) if one.host.startswith(HOST)}
    running = store.list_runs(sweep.id, states={RunState.RUNNING})
    left = {run.lease: run for run in running if run.agent_id in ours}
    book.taken |= {run.id for run in left.values()}
    # First of all, so that no claim finds their leases run out.
    store.heartbeat(list(left), lease_seconds=lease_seconds)
    left = {lease: run for lease, run in left.items() if run.id not in here}
    while left:
        runs = fleet.recorded(next(iter(left.values())), left)
        job = fleet.load(store, sweep, runs)
        for run in runs:
            del left[run.lease]
        if job is None:
            yield from runs
        elif not job.submitted and any(mirror.came_home for mirror in job.mirrors):
            # It ran where this driver cannot see it: another account or region, or a bench that is gone.
            for run in runs:
                book.finish(run, Outcome(RunState.PREEMPTED))
        else:
            for mirror in job.mirrors:
                mirror.read_request(cloud, time.monotonic())
            yield job
