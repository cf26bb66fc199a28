"""The FAQ's answer for agents in the cloud: a queue hands a sweep's id to machines, which begin to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from besom.records import Run, RunState
from besom_aws.bench import Bench, started

# ---- Can I use W&B Sweeps with cloud infrastructures such as AWS Batch, ECS, etc.?


class Person(Protocol):
    """Whoever follows the FAQ; see conftest.py."""

    folder: Path

    def write(self, name: str, text: str) -> Path: ...
    def start(self, *words: str, **environment: str) -> Any: ...
    def do(self, *words: str, **environment: str) -> str: ...
    def sweep(self, text: str, *options: str) -> str: ...


@pytest.fixture
def bench(person: Person, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with started(tmp_path_factory.mktemp("aws"), place=person.folder) as running, running.aws():
        yield running


@pytest.mark.slow
def test_a_queue_transmits_the_sweep_id_to_machines_that_consume_it_and_begin_to_run(
    person: Person, bench: Bench, runs_of: Callable[[str], list[Run]]
) -> None:
    person.write(
        "train.py",
        "import besom as wandb\nwith wandb.init() as run:\n    run.log({'loss': run.config.lr})\n",
    )
    sweep_id = person.sweep(
        "program: train.py\nmethod: grid\nmetric: {name: loss}\n"
        "parameters: {lr: {values: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}}\n"
    )
    queue, aws = bench.add_queue(), bench.environment
    person.do("besom", "publish", sweep_id, "--queue", queue, "--agents", "3", **aws)
    assert bench.count(queue) == (3, 0)
    instances = [person.start("besom", "agent", "--queue", queue, "--idle", "1", **aws) for _ in range(3)]
    for instance in instances:
        output, errors = instance.communicate(timeout=90)
        assert instance.returncode == 0, f"{output}\n{errors}"
    runs = runs_of(sweep_id)
    assert [run.state for run in runs] == [RunState.FINISHED] * 6
    assert sorted(run.params["lr"] for run in runs) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert bench.count(queue) == (0, 0)


@pytest.mark.slow
def test_batch_jobs_invoke_the_agent(
    person: Person, bench: Bench, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from besom.store import open_store

    monkeypatch.delenv("BESOM_DIR", raising=False)
    person.write("train.py", "import besom as wandb\nwandb.init().log({'loss': 1})\n")
    told = {**bench.environment, "BESOM_STORE": postgres_url}
    file = person.write(
        "sweep.yaml",
        "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {lr: {values: [1, 2]}}\n",
    )
    sweep_id = person.do("besom", "sweep", str(file), **told).split()[-1]
    jobs = person.do(
        "besom", "launch", "batch", sweep_id, "--jobs", "2", "--queue", bench.add_job_queue(),
        "--image", "trainer", "--", "--count", "1", **told,
    ).split()  # fmt: skip
    store = open_store(postgres_url)
    try:
        bench.until(lambda: [run.state for run in store.list_runs(sweep_id)] == [RunState.FINISHED] * 2, 60)
        assert sorted(agent.job or "" for agent in store.list_agents(sweep_id)) == [
            f"batch:{one}" for one in jobs
        ]
    finally:
        store.close()
