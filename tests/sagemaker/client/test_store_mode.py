from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.errors import NotFoundError, UsageError
from besom.records import RunState, SweepState
from besom.store import open_store
from besom.store.base import Store
from besom.sweep import create_sweep
from besom.sweepfile import load
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.agents import AgentJobs
from besom_sagemaker.bench import Bench
from besom_sagemaker.capacity import DriverOptions
from besom_sagemaker.cost import Ledger
from besom_sagemaker.package import build_files, upload, with_store_client

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.slow


def jobs_on(
    store: Store,
    sweep_id: str,
    found: SageMakerSweep,
    folder: Path,
    options: DriverOptions,
    *,
    dollars: float = 0.0,
) -> AgentJobs:
    """Jobs that use an SQLite file: those of the bench are on this machine, and do reach it."""
    layout = found.layout(sweep_id)
    return AgentJobs(
        store,
        sweep_id,
        store.url,
        cloud=found.cloud,
        template=found.template,
        job_options=found.job_options,
        layout=layout,
        code=upload(found.cloud, layout, found.template, build_files(found.template, {})),
        ledger=Ledger(folder / "ledger.jsonl", {"ml.m5.large": 3600 * dollars}),
        options=options,
        usd_per_second=dollars,
    )


def test_jobs_that_reach_the_store_take_their_runs_by_themselves(
    bench: Bench, folder: Path, request_on: Make
) -> None:
    found = SageMakerSweep(request_on(bench), "sweep.yaml", source_dir="src", requirements=None)
    store = open_store()
    sweep = create_sweep(store, load(folder / "sweep.yaml"))
    result = jobs_on(store, sweep.id, found, folder, DriverOptions(max_jobs=2, poll_seconds=0.3)).run()
    assert result.exit_code == 0, [bench.log(name) for name in bench.lives]
    assert store.get_sweep(sweep.id).state is SweepState.FINISHED
    assert [run.state for run in store.list_runs(sweep.id)] == [RunState.FINISHED] * 8
    assert {name.split("-")[2] for name in bench.lives} == {"agent1", "agent2"}
    store.close()


def test_a_budget_stops_jobs_that_take_runs_by_themselves(
    bench: Bench, folder: Path, request_on: Make
) -> None:
    found = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        requirements=None,
        environment={"STEPS": "1000", "PAUSE": "0.1"},
    )
    store = open_store()
    sweep = create_sweep(store, load(folder / "sweep.yaml"))
    options = DriverOptions(max_jobs=2, poll_seconds=0.3, budget_usd=24)  # a dollar a second for each job
    result = jobs_on(store, sweep.id, found, folder, options, dollars=1.0).run()
    assert result.reason == "the budget of 24 USD is spent"
    assert {bench.describe(name)["TrainingJobStatus"] for name in bench.lives} == {"Stopped"}
    assert [run.state for run in store.list_runs(sweep.id)] == [RunState.PREEMPTED] * 2
    assert store.get_sweep(sweep.id).state is SweepState.RUNNING, "it may go on with a larger budget"
    store.close()


def test_jobs_take_runs_from_a_postgresql_store_by_reference(
    bench: Bench, folder: Path, request_on: Make, postgres_url: str
) -> None:
    bench.client("ssm").put_parameter(Name="/besom/store", Value=postgres_url, Type="SecureString")
    found = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        store="ssm:/besom/store",
        trials_per_job="until_done",
        max_jobs=2,
        poll_seconds=0.3,
    )
    result = found.run()
    assert result.exit_code == 0, [bench.log(name) for name in bench.lives]
    assert [run.state for run in found.runs()] == [RunState.FINISHED] * 8
    assert found.status().sweep.state is SweepState.FINISHED
    text = b"".join(
        bench.client("s3").get_object(Bucket="artifacts", Key=one["Key"])["Body"].read()
        for one in bench.client("s3").list_objects_v2(Bucket="artifacts")["Contents"]
        if one["Key"].endswith("requirements.txt")
    ).decode()
    assert "psycopg[binary]==" in text
    assert all(postgres_url not in bench.log(name) for name in bench.lives)


def test_what_reaches_the_store_is_added_once_and_not_to_hashed_requirements() -> None:
    url = "postgresql://me@host/db"
    added = with_store_client({}, url)["requirements.txt"]
    assert added.startswith(b"psycopg[binary]==")
    assert with_store_client({"requirements.txt": added}, url) == {"requirements.txt": added}
    assert with_store_client({}, "https://host") == {}
    with pytest.raises(UsageError, match="with its hashes"):
        with_store_client({"requirements.txt": b"six==1 --hash=sha256:00\n"}, url)


def test_a_reference_to_a_store_that_jobs_cannot_reach_is_refused(
    bench: Bench, folder: Path, request_on: Make
) -> None:
    ssm = bench.client("ssm")
    ssm.put_parameter(Name="/besom/file", Value=f"sqlite:///{folder}/x.db", Type="SecureString")
    ssm.put_parameter(Name="/besom/dsn", Value="nosuch://me:planted@host/db", Type="SecureString")
    request = request_on(bench)
    file = SageMakerSweep(request, "sweep.yaml", source_dir="src", store="ssm:/besom/file")
    with pytest.raises(UsageError, match="leads to an SQLite file"):
        file.run()
    other = SageMakerSweep(
        request, "sweep.yaml", source_dir="src", store="ssm:/besom/dsn", trials_per_job="until_done"
    )
    with pytest.raises(NotFoundError, match="no store is called 'nosuch'") as refused:
        other.run()
    assert "planted" not in str(refused.value)
    assert bench.calls["CreateTrainingJob"] == 0
