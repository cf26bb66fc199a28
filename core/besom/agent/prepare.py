"""Makes a run's folder ready for its next attempt, and saves what earlier attempts left in it."""

from __future__ import annotations

from pathlib import Path

from besom.agent.process import kill_orphans
from besom.agent.settle import save_lost
from besom.folders import RunFolder, run_folder, write_run_folder
from besom.records import Lease, Run, Sweep
from besom.scheduler import Reporter
from besom.store.base import Store


def prepare_folder(store: Store, run: Run, sweep: Sweep, home: Path) -> RunFolder:
    """Give the run's folder inside `home`, ready for the attempt that was just claimed.

    What killed processes of earlier attempts logged is still in their journals: it goes to the store first,
    so that the program resumes behind it. OSError when the folder cannot be written.
    """
    folder = run_folder(run.id, home)
    if run.attempt > 1:
        kill_orphans(run.id, before=run.attempt)
        for attempt in range(1, run.attempt):
            save_lost(store, Reporter(store, Lease(run.id, attempt), None), folder.journal(attempt))
    write_run_folder(folder, run, sweep)
    folder.polls_stop.unlink(missing_ok=True)
    return folder
