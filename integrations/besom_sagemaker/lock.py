"""One driver for a sweep, and how to stop jobs that have none."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from besom.errors import StateError
from besom.folders import besom_dir, run_folder
from besom.records import RunState
from besom_sagemaker.fleet import read_record
from besom_sagemaker.job import STOP, Layout, StopRequest

if TYPE_CHECKING:
    from besom.store.base import Store
    from besom_sagemaker.cloud import Cloud


def driver_runs(sweep_id: str) -> bool:
    """Say whether a driver of the sweep runs on this machine."""
    try:
        with only_driver(sweep_id):
            return False
    except StateError:
        return True


def stop_jobs(cloud: Cloud, store: Store, sweep_id: str, *, kill: bool) -> None:
    """Ask every job of a sweep's running runs to stop, so that the next driver finds them ended."""
    request = StopRequest("kill" if kill else "stop", "the sweep was stopped").to_json().encode()
    names: dict[str, None] = {}
    for run in store.list_runs(sweep_id, states={RunState.RUNNING}):
        record = read_record(run_folder(run.id), run.attempt)
        if record is not None:
            cloud.put(Layout(record.base).run(run.id, run.attempt) + STOP, request)
            names[record.job] = None
    for name in names:
        cloud.stop(name)


@contextmanager
def only_driver(sweep_id: str) -> Generator[None]:
    """Be the only driver of a sweep on this machine; StateError if there is another."""
    folder = sagemaker_folder(sweep_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "driver.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(f"another driver of sweep {sweep_id} runs on this machine") from None
        yield


def sagemaker_folder(sweep_id: str) -> Path:
    """Give where a sweep's driver keeps its lock and its bills."""
    return besom_dir() / "sagemaker" / sweep_id
