"""What a driver does about a network that is gone, about refusals, and about jobs that never came to be."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom_sagemaker import SageMakerSweep, cloud
from besom_sagemaker.bench import Bench
from besom_sagemaker.cloud import Cloud, NotNowError

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """No patience inside botocore, so that the driver's own is what a test sees."""
    monkeypatch.setattr(cloud, "_ATTEMPTS", 0)


def sweep_of(request: dict[str, Any], **settings: Any) -> SageMakerSweep:
    chosen: dict[str, Any] = {"max_jobs": 2, "poll_seconds": 0.2, "requirements": None, **settings}
    return SageMakerSweep(request, "sweep.yaml", source_dir="src", **chosen)


def test_a_network_that_is_gone_is_waited_for(monkeypatch: pytest.MonkeyPatch, one_try: None) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(NotNowError) as caught:
        Cloud(region="us-east-1").get("s3://bucket/key")
    assert caught.value.why == "unreachable"


@pytest.mark.slow
@pytest.mark.parametrize("throttled", [0, 3])
def test_the_next_driver_counts_the_runs_that_it_finds(
    bench: Bench, folder: Path, request_on: Make, one_try: None, throttled: int
) -> None:
    request = request_on(bench)
    environment = {"STEPS": "60", "PAUSE": "0.1"}

    def leave() -> None:
        bench.until(lambda: sum("step=" in bench.log(name) for name in list(bench.lives)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=leave)
    other.start()
    assert sweep_of(request, count=2, environment=environment).run().exit_code == 130
    other.join()
    bench.faults.throttle = {"DescribeTrainingJob": throttled}
    again = sweep_of(request, count=2, max_jobs=4, environment=environment)
    assert again.run().exit_code == 0
    assert [(run.state, run.attempt) for run in again.runs()] == [(RunState.FINISHED, 1)] * 2
    assert len(bench.lives) == 2


@pytest.mark.slow
def test_a_run_whose_job_is_refused_is_queued_again(
    bench: Bench, folder: Path, request_on: Make, one_try: None
) -> None:
    request = request_on(bench)
    bench.faults.deny = {"CreateTrainingJob": 1}
    sweep = sweep_of(request, count=1)
    result = sweep.run()
    assert result.exit_code == 1
    assert "AccessDenied" in result.reason
    (run,) = sweep.runs()
    assert run.state is RunState.PREEMPTED  # which is: queued again
    assert sweep_of(request, count=1).run().exit_code == 0
    assert sweep.runs()[0].state is RunState.FINISHED


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_a_sweep_is_stopped_while_its_jobs_wait_for_a_quota(
    bench: Bench, folder: Path, request_on: Make, kill: bool
) -> None:
    request = request_on(bench)
    bench.faults.max_jobs = 0
    waiting = threading.Event()

    def stop() -> None:
        waiting.wait(60)
        sweep_of(request).stop(kill=kill)

    other = threading.Thread(target=stop)
    other.start()
    sweep = sweep_of(request)
    result = sweep.run(on_event=lambda event: waiting.set() if event.kind == "store" else None)
    other.join()
    assert result.exit_code == 0
    assert {run.state for run in sweep.runs()} == {RunState.KILLED if kill else RunState.STOPPED}
    assert not bench.lives


@pytest.mark.slow
def test_a_name_that_is_in_use_is_a_job_to_go_on_with(
    bench: Bench, folder: Path, request_on: Make, one_try: None
) -> None:
    """SageMaker may not know a job for a while that it has taken."""
    request = request_on(bench)
    environment = {"STEPS": "30", "PAUSE": "0.1"}

    def leave() -> None:
        bench.until(lambda: any("step=" in bench.log(name) for name in list(bench.lives)))
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=leave)
    other.start()
    assert sweep_of(request, count=1, environment=environment).run().exit_code == 130
    other.join()
    bench.faults.unseen = 1
    for path in (folder / ".besom").rglob("journal.*"):
        path.unlink()  # as if nothing had come home yet
    again = sweep_of(request, count=1, environment=environment)
    assert again.run().exit_code == 0
    (run,) = again.runs()
    assert (run.state, run.attempt) == (RunState.FINISHED, 1)
    assert bench.calls["CreateTrainingJob"] == 2
    assert len(bench.lives) == 1
