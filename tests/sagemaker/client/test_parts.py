"""The small parts of a driver: endings, bills, rates, journals that come home."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

import re
from pathlib import Path

import pytest

from besom.errors import UsageError
from besom.records import Metric, Outcome, RunState
from besom_sagemaker.cloud import Bucket, JobState, instances_of
from besom_sagemaker.cost import JobCost, Ledger, usd_per_second
from besom_sagemaker.endings import ending_of, logged_by
from besom_sagemaker.job import RunStatus, StopRequest, metric_regex
from besom_sagemaker.s3 import split_s3


def job(status: str, secondary: str = "", reason: str = "") -> JobState:
    return JobState("j", status, secondary or status, reason, 60, 90, {"ml.m5.large": 1})


def said(state: RunState) -> RunStatus:
    return RunStatus("r", 1, "ended", 0.0, outcome=Outcome(state, 143, None, {"loss": 1.0}, 1.0))


BEGUN = RunStatus("r", 1, "running", 0.0)
STOP, KILL = StopRequest("stop", "enough"), StopRequest("kill", "canceled")


@pytest.mark.parametrize(
    ("state", "status", "asked", "becomes"),
    [
        (job("Completed"), said(RunState.FINISHED), None, RunState.FINISHED),
        (job("Failed"), said(RunState.FINISHED), None, RunState.FINISHED),
        (job("Stopped"), None, STOP, RunState.STOPPED),
        (job("Stopped"), said(RunState.PREEMPTED), STOP, RunState.STOPPED),
        (job("Stopped"), None, KILL, RunState.KILLED),
        (job("Stopped", "MaxRuntimeExceeded"), said(RunState.PREEMPTED), None, RunState.FAILED),
        (job("Stopped", "MaxRuntimeExceeded"), None, None, RunState.FAILED),
        (job("Stopped", "MaxWaitTimeExceeded"), None, None, RunState.PREEMPTED),
        (job("Stopped"), None, None, RunState.FAILED),
        (job("Stopped"), said(RunState.PREEMPTED), None, RunState.FAILED),
        (job("Failed", reason="CapacityError: Unable to provision"), None, None, RunState.PREEMPTED),
        (job("Failed", reason="InternalServerError: We encountered"), None, None, RunState.PREEMPTED),
        (job("Failed", reason="AlgorithmError: boom"), None, None, RunState.FAILED),
        (job("Failed"), said(RunState.PREEMPTED), None, RunState.PREEMPTED),
        (job("Completed"), None, None, RunState.FAILED),
        (job("Completed"), BEGUN, None, RunState.FINISHED),
        (job("Failed", reason="AlgorithmError: boom"), BEGUN, None, RunState.FAILED),
    ],
)
def test_how_a_run_ended_follows_from_its_job(
    state: JobState, status: RunStatus | None, asked: StopRequest | None, becomes: RunState
) -> None:
    assert ending_of(state, status, asked).state is becomes


def test_a_run_that_its_job_never_came_to_is_queued_again() -> None:
    broken = job("Failed", reason="AlgorithmError: out of disk")
    assert ending_of(broken, None, None, others_begun=True).state is RunState.PREEMPTED
    assert ending_of(broken, None, None, others_begun=False).error == "AlgorithmError: out of disk"


def test_where_s3_tells_nothing_the_metric_is_the_one_in_the_jobs_log() -> None:
    metrics, metric = {"loss": 0.25, "other": 1.0}, Metric("loss", "minimize")
    ended = ending_of(job("Completed"), None, None, logged=logged_by(metrics, metric))
    assert ended == Outcome(RunState.FINISHED, 0, None, {"loss": 0.25}, 0.25)
    assert logged_by(metrics, Metric("val", "minimize")) == logged_by(metrics, None) == {}
    told = ending_of(job("Completed"), said(RunState.FINISHED), None, logged={"loss": 9.0})
    assert told.value == 1.0, "what the runner says of a run holds"


@pytest.mark.parametrize("name", ["loss", "val/loss", "a (b) *", "two words"])
def test_a_metric_is_found_in_the_line_of_the_log_that_has_it(name: str) -> None:
    words = f"x_{'_'.join(name.split())}=9; {'_'.join(name.split())}=0.5; y=1;"
    found = re.search(metric_regex(name), f"besom: run=r step=0; {words}")
    assert found is not None
    assert found[1] == "0.5"


def test_every_instance_of_a_job_is_paid_for() -> None:
    groups = [
        {"InstanceType": "ml.a", "InstanceCount": 2, "InstanceGroupName": "x"},
        {"InstanceType": "ml.b", "InstanceCount": 1, "InstanceGroupName": "y"},
    ]
    instances = instances_of({"ResourceConfig": {"InstanceGroups": groups}})
    assert instances == {"ml.a": 2, "ml.b": 1}
    assert usd_per_second(instances, {"ml.a": 3600.0, "ml.b": 1800.0}) == 2.5
    assert instances_of({"ResourceConfig": {"InstanceType": "ml.a", "InstanceCount": 3}}) == {"ml.a": 3}


def test_a_timed_out_run_keeps_what_it_reported() -> None:
    ended = ending_of(job("Stopped", "MaxRuntimeExceeded"), said(RunState.PREEMPTED), None)
    assert ended.error is not None
    assert "timed out" in ended.error
    assert ended.value == 1.0


def test_a_bill_is_counted_once_also_by_the_next_driver(tmp_path: Path) -> None:
    path, prices = tmp_path / "ledger.jsonl", {"ml.m5.large": 3.6}
    ledger = Ledger(path, prices)
    ledger.add(JobCost("a", {"ml.m5.large": 2}, 500, 800))
    ledger.add(JobCost("a", {"ml.m5.large": 2}, 500, 800))
    with path.open("a") as file:
        file.write('{"job": "half')  # a driver was killed here
    again = Ledger(path, prices)
    again.add(JobCost("b", {"ml.other": 1}, 100, 100))
    final = Ledger(path, prices)
    assert final.seconds == 1100
    assert final.saved == 600
    assert final.usd == pytest.approx(1.0)


def test_calls_keep_to_their_rate_after_a_burst() -> None:
    now, waits = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    bucket = Bucket(2.0, 3.0, clock=lambda: now[0], sleep=sleep)
    for _ in range(7):
        bucket.take()
    assert waits == pytest.approx([0.5, 0.5, 0.5, 0.5])
    now[0] += 100
    for _ in range(3):
        bucket.take()
    assert len(waits) == 4


def test_an_s3_address_is_split_and_nothing_else_is() -> None:
    assert split_s3("s3://bucket/a/b") == ("bucket", "a/b")
    assert split_s3("s3://bucket") == ("bucket", "")
    with pytest.raises(UsageError):
        split_s3("https://bucket/a")
