"""`besom.report`: logging and stopping in one call, wherever the program runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import besom
from besom.store.base import Store

if TYPE_CHECKING:
    import pytest

Python = Callable[..., "subprocess.CompletedProcess[str]"]


def test_outside_every_run_it_does_nothing(python: Python, home: Path) -> None:
    ended = python("import besom; besom.report(1, loss=0.5); besom.report(loss=0.5)")
    assert ended.returncode == 0, ended.stderr
    assert not (home / "besom.db").exists()


def test_a_process_of_an_agent_attaches_by_itself(python: Python, store: Store, sweeps: Any) -> None:
    run, folder = sweeps.claim(sweeps.create())
    ended = python(
        """
        import besom
        besom.report(0, loss=0.5)
        besom.report(1, loss=0.25)
        besom.finish()
        """,
        environment=sweeps.environment(run, folder),
    )
    assert ended.returncode == 0, ended.stderr
    assert [(row.step, row.data) for row in store.history(run.id)] == [
        (0, {"loss": 0.5}),
        (1, {"loss": 0.25}),
    ]
    assert store.get_run(run.id).value == 0.25


def test_it_raises_when_the_run_is_to_stop(
    store: Store, sweeps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BESOM_LEASE_SECONDS", "3")  # so that the answer is asked for often
    run, folder = sweeps.claim(sweeps.create())
    program = (
        "import besom, time\nfor step in range(2000):\n    besom.report(step, loss=1.0); time.sleep(0.01)"
    )
    environment = os.environ | sweeps.environment(run, folder)
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        deadline = time.monotonic() + 30
        while not store.history(run.id) and time.monotonic() < deadline:
            time.sleep(0.02)
        store.request_stop(run.id, "enough")
        process.wait(30)
    ended = store.get_run(run.id)
    assert (ended.state.value, ended.value) == ("stopped", 1.0)


def test_in_a_run_of_its_own_it_logs(store: Store, home: Path) -> None:
    with besom.init() as run:
        besom.report(loss=0.5)
        besom.report(loss=0.25)
    assert [row.data for row in store.history(run.id)] == [{"loss": 0.5}, {"loss": 0.25}]
