from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom.errors import NotFoundError, UsageError
from besom.folders import RunFile, RunFolder, escape_path, read_run_file
from besom.journal import Journal
from besom.records import CONTINUE, Directive, Lease, Metric, Outcome, RunState
from besom.store import open_store
from besom_sagemaker.inside.store import job_store_url, write_directive, write_earlier
from besom_sagemaker.job import (
    Earlier,
    JobDocument,
    Launch,
    Layout,
    RunSpec,
    RunStatus,
    StopRequest,
    metric_of,
    read_document,
    read_status,
    read_stop,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(params=st.dictionaries(st.text(), JSON, max_size=5))
def test_a_document_reads_back_as_it_was_written(params: dict[str, object]) -> None:
    spec = RunSpec("r1", 2, 7, "run-7", params, "s3://b/r1/a2/", (Earlier(1, "preempted", "s3://b/r1/a1/"),))
    document = JobDocument(
        "s1",
        "job",
        {"method": "grid", "parameters": params},
        Launch(("${env}", "x"), "train.py"),
        (spec,),
        metric={"name": "loss", "goal": "maximize"},
        secrets={"KEY": "ssm:/key"},
    )
    assert read_document(document.to_json()) == document
    assert metric_of(document) == Metric("loss", "maximize")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 1}', '{"version": 2}', '{"version": 1, "odd": 3}']
)
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_document(text)


def test_a_document_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="job x"):
        JobDocument("s1", "x", {"seed": float("nan")}).to_json()


def test_a_status_reads_back_as_it_was_written() -> None:
    outcome = Outcome(RunState.STOPPED, 0, None, {"loss": {"min": 0.5}}, 0.5)
    for status in (
        RunStatus("r1", 1, "running", 1.5),
        RunStatus("r1", 1, "ended", 2.5, "job", 1, 99, 44, "/opt/ml/checkpoints/c", "stop", outcome),
    ):
        assert read_status(status.to_json()) == status


@pytest.mark.parametrize("text", ["", "null", "nonsense", "{}"])
def test_any_stop_object_is_a_request_to_stop(text: str) -> None:
    assert read_stop(text) == StopRequest("stop", "")


def test_a_stop_request_reads_back_as_it_was_written() -> None:
    assert read_stop(StopRequest("kill", "canceled").to_json()) == StopRequest("kill", "canceled")


def test_the_layout_keeps_a_runs_attempts_apart_and_its_checkpoints_together() -> None:
    layout = Layout("s3://b/p/s1")
    assert layout.run("r1", 1) != layout.run("r1", 2)
    assert layout.checkpoints("r1") == "s3://b/p/s1/checkpoints/r1/"


# ---- the store inside a job


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "odd ?%name" / "runs" / "r1")
    folder.path.mkdir(parents=True)
    folder.params_file.write_text("{}")
    about = {"run_id": "r1", "attempt": 2, "number": 1, "name": "n", "sweep_id": "s1", "metric": None}
    folder.run_file.write_text(json.dumps(about))
    return folder


def test_the_store_in_a_job_tells_what_the_runner_wrote(folder: RunFolder) -> None:
    store = open_store(job_store_url(folder))
    lease = Lease("r1", 2)
    assert store.report(lease, [], lease_seconds=1) == CONTINUE
    write_directive(folder, Directive("stop", "worse"))
    assert store.report(lease, [], lease_seconds=1) == Directive("stop", "worse")
    assert store.heartbeat([lease], lease_seconds=1) == {lease: Directive("stop", "worse")}
    assert store.finish(lease, Outcome(RunState.STOPPED)).state is RunState.STOPPED
    assert store.get_sweep("s1").id == "s1"
    store.close()


def test_the_store_in_a_job_knows_earlier_attempts_by_their_journals(folder: RunFolder) -> None:
    store = open_store(job_store_url(folder))
    assert store.attempts("r1") == []
    assert store.last_row(Lease("r1", 1)) is None
    journal = Journal(folder.journal(1))
    journal.append("history", 1.0, {"step": 4, "data": {"loss": 0.5}})
    journal.close()
    write_earlier(folder, {1: "preempted"})
    (earlier,) = store.attempts("r1")
    assert (earlier.state, earlier.summary) == (RunState.PREEMPTED, {"loss": 0.5})
    row = store.last_row(Lease("r1", 1))
    assert row is not None
    assert (row.step, row.data) == (4, {"loss": 0.5})
    assert store.last_row(Lease("r1", 2)) is None


def test_what_the_store_in_a_job_cannot_know_is_an_error_that_says_so(
    folder: RunFolder, tmp_path: Path
) -> None:
    store = open_store(job_store_url(folder))
    with pytest.raises(UsageError, match="has no best_run"):
        store.best_run("s1")
    with pytest.raises(NotFoundError):
        open_store(f"job://{escape_path(str(tmp_path / 'nothing'))}")


def test_a_run_file_may_say_that_its_attempt_was_interrupted(folder: RunFolder) -> None:
    assert read_run_file(folder).resumed is False
    assert RunFile("r1", 1, 1, "n", resumed=True).resumed
