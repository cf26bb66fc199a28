from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState, SweepState
from besom.store import open_store
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench

Make = Callable[..., dict[str, Any]]


@pytest.mark.slow
@pytest.mark.parametrize("per_job", [1, 3])
def test_a_sweep_over_a_plain_request_gives_what_a_local_sweep_gives(
    bench: Bench,
    folder: Path,
    request_on: Make,
    local_results: Callable[[], list[tuple[Any, ...]]],
    per_job: int,
) -> None:
    sweep = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        max_jobs=4,
        trials_per_job=per_job,
        poll_seconds=0.3,
    )
    result = sweep.run()
    assert result.exit_code == 0
    assert sweep.status().sweep.state is SweepState.FINISHED
    found = [(run.number, run.state, run.params, run.value) for run in sweep.runs()]
    assert found == local_results()
    jobs = 8 if per_job == 1 else 3
    assert bench.calls["CreateTrainingJob"] == jobs
    assert bench.calls["DescribeTrainingJob"] <= jobs + 2
    best = sweep.best()
    assert best is not None
    assert best.value == min(run.value for run in sweep.runs() if run.value is not None)
    if per_job == 1:
        read = [bench.describe(name)["FinalMetricDataList"] for name in bench.lives]
        assert sorted(one["Value"] for (one,) in read) == sorted(run.value or 0.0 for run in sweep.runs())


@pytest.mark.slow
def test_stopping_a_run_reaches_its_program_and_ends_it_well(
    bench: Bench, folder: Path, request_on: Make
) -> None:
    sweep = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        count=1,
        poll_seconds=0.2,
        environment={"STEPS": "1000", "PAUSE": "0.1"},
    )
    asked: list[float] = []

    def stop_it() -> None:
        store = open_store()
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            runs = [run for found in store.list_sweeps() for run in store.list_runs(found.id)]
            if runs and runs[0].value is not None:
                store.request_stop(runs[0].id, "seen enough")
                asked.append(time.monotonic())
                break
            time.sleep(0.1)
        store.close()

    other = threading.Timer(0.5, stop_it)
    other.start()
    sweep.run()
    other.join()
    (run,) = sweep.runs()
    assert asked
    assert run.state is RunState.STOPPED
    assert run.stop_reason == "seen enough"
    assert next(iter(bench.lives)).startswith("besom-")
    assert bench.describe(next(iter(bench.lives)))["TrainingJobStatus"] == "Completed"


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_stopping_a_sweep_without_a_driver_ends_its_jobs(
    bench: Bench, folder: Path, request_on: Make, kill: bool
) -> None:
    request = request_on(bench)
    environment = {"STEPS": "1000", "PAUSE": "0.1"}

    def found() -> SageMakerSweep:
        return SageMakerSweep(
            request,
            "sweep.yaml",
            source_dir="src",
            max_jobs=2,
            poll_seconds=0.2,
            environment=environment,
            requirements=None,
        )

    def leave() -> None:
        bench.until(lambda: sum("step=" in bench.log(name) for name in list(bench.lives)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=leave)
    other.start()
    result = found().run()
    other.join()
    assert result.exit_code == 130
    assert "2 jobs go on" in result.reason
    assert len(found().status().jobs) == 2
    found().stop(kill=kill)
    for name in list(bench.lives):
        bench.wait(name)
    assert found().run().exit_code == 0
    assert {run.state for run in found().runs()} == {RunState.KILLED if kill else RunState.STOPPED}
    assert len(bench.lives) == 2
