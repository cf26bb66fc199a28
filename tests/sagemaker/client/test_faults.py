"""What AWS and the machine do to a sweep: quotas, throttling, capacity, killed drivers."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.agent import AgentEvent
from besom.records import RunState, SweepState
from besom.store import open_store
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench
from besom_sagemaker.capacity import Capacity, DriverOptions

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.slow


def small(folder: Path, runs: int) -> None:
    text = (folder / "sweep.yaml").read_text().replace("run_cap: 8", f"run_cap: {runs}")
    (folder / "sweep.yaml").write_text(text)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that does not wait as long for AWS to change its mind."""
    monkeypatch.setattr(DriverOptions, "__init__", _with(DriverOptions.__init__, retry_first=0.3))


def _with(make: Callable[..., None], **fixed: Any) -> Callable[..., None]:
    def init(self: Any, **given: Any) -> None:
        make(self, **{**fixed, **given})

    return init


def test_a_quota_keeps_runs_waiting_and_lowers_the_number_of_jobs(
    bench: Bench, folder: Path, request_on: Make, impatient: None
) -> None:
    small(folder, 5)
    bench.faults.max_jobs = 2
    events: list[AgentEvent] = []
    sweep = SageMakerSweep(request_on(bench), "sweep.yaml", source_dir="src", max_jobs=5, poll_seconds=0.2)
    assert sweep.run(on_event=events.append).exit_code == 0
    assert [run.state for run in sweep.runs()] == [RunState.FINISHED] * 5
    assert {run.attempt for run in sweep.runs()} == {1}
    assert any("ResourceLimitExceeded" in e.detail or "service limit" in e.detail for e in events)


def test_a_throttled_submission_is_tried_again(bench: Bench, folder: Path, request_on: Make) -> None:
    small(folder, 2)
    bench.faults.throttle = {"CreateTrainingJob": 2, "DescribeTrainingJob": 1, "ListTrainingJobs": 1}
    sweep = SageMakerSweep(request_on(bench), "sweep.yaml", source_dir="src", poll_seconds=0.2)
    assert sweep.run().exit_code == 0
    assert [run.state for run in sweep.runs()] == [RunState.FINISHED] * 2
    assert bench.calls["CreateTrainingJob"] == 4


def test_a_run_that_finds_no_machine_is_queued_again(
    bench: Bench, folder: Path, request_on: Make, impatient: None
) -> None:
    small(folder, 2)
    bench.faults.lacks_capacity = 1
    sweep = SageMakerSweep(request_on(bench), "sweep.yaml", source_dir="src", poll_seconds=0.2)
    assert sweep.run().exit_code == 0
    runs = sweep.runs()
    assert [run.state for run in runs] == [RunState.FINISHED] * 2
    assert sorted(run.attempt for run in runs) == [1, 2]
    assert all(run.failures == 0 for run in runs)


def test_a_job_stopped_by_somebody_else_is_a_failure(bench: Bench, folder: Path, request_on: Make) -> None:
    small(folder, 1)
    sweep = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        poll_seconds=0.2,
        environment={"STEPS": "1000", "PAUSE": "0.1"},
    )

    def stop_it(event: AgentEvent) -> None:
        if event.kind == "started":
            name = next(iter(bench.lives))
            bench.until(lambda: "step=" in bench.log(name), what=name)
            bench.client("sagemaker").stop_training_job(TrainingJobName=name)

    sweep.run(on_event=stop_it)
    (run,) = sweep.runs()
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert "from outside besom" in run.error


def test_the_budget_ends_a_sweep(bench: Bench, folder: Path, request_on: Make) -> None:
    sweep = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        max_jobs=1,
        poll_seconds=0.2,
        prices={"ml.m5.large": 3600.0},  # a dollar a second
        budget_usd=1.5,
    )
    result = sweep.run()
    assert result.reason == "the budget of 1.5 USD is spent"
    assert 1 <= len(sweep.runs()) < 8
    assert (sweep.status().usd or 0) >= 0.5
    assert sweep.status().sweep.state is SweepState.RUNNING


DRIVE = """
import json, os, signal, sys
from besom.store import open_store
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.cloud import Cloud

per_job, left = map(int, sys.argv[1:])

def point():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def pointed(call):
    def calling(*words, **options):
        point()
        answer = call(*words, **options)
        point()
        return answer
    return calling

store = open_store()
kind = type(store)
store.close()
Cloud._call = pointed(Cloud._call)
for name in "create_sweep add_agent claim claim_batch offer heartbeat report finish list_runs".split():
    setattr(kind, name, pointed(getattr(kind, name)))
SageMakerSweep(json.load(open("request.json")), "sweep.yaml", source_dir="src", max_jobs=2, poll_seconds=0.1,
    trials_per_job=per_job, requirements=None, environment={"STEPS": "4", "PAUSE": "0.1"}).run()
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("seed", "per_job"), [(1, 1), (2, 2), (3, 3)])
def test_killing_the_driver_at_random_points_loses_and_doubles_nothing(
    bench: Bench, folder: Path, request_on: Make, seed: int, per_job: int
) -> None:
    """A point is before or after any call of the store or of AWS; seven in each of these."""
    (folder / "request.json").write_text(json.dumps(request_on(bench)))
    chance = random.Random(seed)
    words = [sys.executable, "-c", DRIVE, str(per_job)]
    for _ in range(7):
        killed = subprocess.run([*words, str(chance.randint(1, 90))], check=False, timeout=90)
        assert killed.returncode == -signal.SIGKILL
    subprocess.run([*words, "0"], check=True, timeout=120)
    store = open_store()
    (sweep,) = store.list_sweeps()
    runs = store.list_runs(sweep.id)
    assert sweep.state is SweepState.FINISHED
    assert [run.state for run in runs] == [RunState.FINISHED] * 8
    assert [run.attempt for run in runs] == [1] * 8, "a run was started twice"
    for run in runs:
        assert [row.step for row in store.history(run.id)] == [0, 1, 2, 3]
        printed = (folder / ".besom" / "runs" / run.id / "output.log").read_text()
        assert printed.splitlines() == [f"trained {step}" for step in range(4)]
    store.close()
    started = [spec for life in bench.lives.values() for spec in _runs_of(bench, life.name)]
    assert len(started) == len(set(started)) == 8, "a run is in two jobs"


def _runs_of(bench: Bench, name: str) -> list[str]:
    objects = bench.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]
    key = next(one["Key"] for one in objects if one["Key"].endswith(f"/jobs/{name}/job.json"))
    text = bench.client("s3").get_object(Bucket="artifacts", Key=key)["Body"].read()
    return [spec["run_id"] for spec in json.loads(text)["runs"]]


def test_a_quota_is_approached_again_by_and_by() -> None:
    capacity = Capacity(8, DriverOptions(max_jobs=8, retry_first=1, retry_longest=4))
    assert [capacity.refused(0, 3, lower=True) for _ in range(4)] == [1, 2, 4, 4]
    assert capacity.limit == 3
    capacity.accepted()
    assert capacity.limit == 4
    assert capacity.refused(0, 0, lower=True) == 1
    assert capacity.limit == 1
