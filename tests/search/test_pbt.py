from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import besom
from besom.errors import SweepFileError, UsageError
from besom.folders import RunFile, RunFolder
from besom.records import Batch, Observation, Run, RunState, Segment
from besom.run.about import About
from besom.search import create_method
from besom.search.base import Method
from besom.search.explore import perturbed
from besom.server.tokens import Tokens
from besom.space.continuous import LogUniform, Uniform
from besom.space.distributions import Choice, Lattice
from besom.stopping.explain import explain
from besom.store import open_store
from besom.sweep import create_sweep
from besom.sweepfile import SweepConfig, from_mapping, parse
from besom.testing.agents import open_lab
from besom.testing.methods import ProposalContract
from besom.testing.servers import ServerProcess

SPACE: dict[str, Any] = {"lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}}


class TestPbtContract(ProposalContract):
    name = "pbt"

    def method(self, config: SweepConfig) -> Method:
        return create_method(config)

    def config(self, sweep: Mapping[str, Any]) -> SweepConfig:
        return super().config({"pbt": {"population": 4, "generations": 6}, **sweep})


def _config(**more: Any) -> SweepConfig:
    pbt = {"population": 4, "generations": 5, **more}
    metric = {"name": "loss", "goal": "minimize"}
    return from_mapping({"method": "pbt", "metric": metric, "seed": 3, "pbt": pbt, "parameters": SPACE})


class Told:
    """A history in which runs end as a test says."""

    def __init__(self) -> None:
        self.runs: dict[str, Observation] = {}
        self.clock = 0

    def add(self, batch: Batch) -> None:
        for item in batch.suggestions:
            assert item.key not in self.runs
            self.runs[item.key] = Observation(
                f"run{len(self.runs)}", RunState.RUNNING, item.params, None, 0, key=item.key
            )

    def end(
        self, member: int, value: float | None, state: RunState = RunState.FINISHED, **summary: float
    ) -> str:
        [key] = [key for key, run in self.runs.items() if _of(key).member == member and run.changed == 0]
        run = self.runs[key]
        self.clock += 1
        self.runs[key] = Observation(
            run.run_id, state, run.params, value, self.clock, summary=summary, key=key
        )
        return run.run_id

    def observations(self, *, after: int = 0) -> list[Observation]:
        return [run for run in self.runs.values() if run.changed > after]

    def active(self) -> list[Mapping[str, Any]]:
        return [run.params for run in self.runs.values() if not run.changed]

    def handed_out(self, *, after: int = 0) -> list[Observation]:
        return [run for run in self.runs.values() if not run.changed] + self.observations(after=after)


def _of(key: str) -> Segment:
    found = Segment.of(key)
    assert found is not None
    return found


def _begun(config: SweepConfig, values: list[float]) -> tuple[Told, list[str]]:
    told = Told()
    told.add(create_method(config).suggest(0, 8, told))
    return told, [told.end(member, value) for member, value in enumerate(values)]


def test_the_worst_goes_on_from_the_best_and_the_others_from_themselves() -> None:
    config = _config()
    told, runs = _begun(config, [0.1, 0.2, 0.3, 9.0])
    batch = create_method(config).suggest(4, 8, told)
    parents = {_of(item.key).member: _of(item.key).parent for item in batch.suggestions}
    assert parents == {0: runs[0], 1: runs[1], 2: runs[2], 3: runs[0]}
    params = {_of(item.key).member: item.params for item in batch.suggestions}
    before = {_of(run.key or "").member: run.params for run in told.runs.values()}
    assert all(params[member] == before[member] for member in (0, 1, 2))
    assert params[3] not in (before[3], before[0])


def test_a_failed_member_is_replaced_and_nobody_waits_for_it() -> None:
    config = _config()
    told = Told()
    told.add(create_method(config).suggest(0, 4, told))
    told.end(2, None, RunState.FAILED)
    good = told.end(1, 0.5)
    batch = create_method(config).suggest(4, 8, told)
    assert [(_of(item.key).member, _of(item.key).parent) for item in batch.suggestions] == [
        (1, good),
        (2, good),
    ]


def test_half_of_the_members_begin_where_the_best_prior_runs_were() -> None:
    config, told = _config(), Told()
    for number, (rate, value) in enumerate([(0.5, 3.0), (0.02, 1.0), (0.02, 1.5), (0.03, 2.0), (7.0, 0.1)]):
        told.runs[f"prior:{number}"] = Observation(
            f"p{number}", RunState.FINISHED, {"lr": rate}, value, number + 1, key=f"prior:{number}"
        )
    batch = create_method(config).suggest(0, 8, told)
    rates = [item.params["lr"] for item in batch.suggestions]
    assert rates[:2] == [0.02, 0.03]
    assert rates[2:] == [
        item.params["lr"] for item in create_method(config).suggest(0, 8, Told()).suggestions[2:]
    ]


def test_a_member_outside_of_a_limit_is_replaced_and_nobody_goes_on_from_it() -> None:
    config = from_mapping(
        {
            **_config().raw,
            "metric": None,
            "metrics": [{"name": "loss", "goal": "minimize"}, {"name": "ms", "max": 5}],
        }
    )
    told = Told()
    told.add(create_method(config).suggest(0, 8, told))
    runs = [
        told.end(member, loss, ms=ms) for member, (loss, ms) in enumerate([(1, 5), (2, 4), (3, 3), (0, 6)])
    ]
    batch = create_method(config).suggest(4, 8, told)
    parents = {_of(item.key).member: _of(item.key).parent for item in batch.suggestions}
    assert parents[0] == runs[0]
    assert parents[3] == runs[0]
    assert runs[3] not in parents.values()


def test_where_every_run_failed_members_begin_anew() -> None:
    config = _config()
    told = Told()
    told.add(create_method(config).suggest(0, 4, told))
    for member in range(4):
        told.end(member, None, RunState.FAILED)
    batch = create_method(config).suggest(4, 8, told)
    assert len(batch.suggestions) == 4
    assert all(_of(item.key).parent is None for item in batch.suggestions)


def test_members_are_compared_at_the_same_generation() -> None:
    config = _config()
    told, _ = _begun(config, [1.0, 2.0, 3.0, 4.0])
    told.add(create_method(config).suggest(4, 4, told))
    ahead = told.end(0, 0.5)
    told.add(create_method(config).suggest(8, 4, told))
    told.end(0, 100.0)  # two generations on, and worse than anything
    third = told.end(3, 5.0)
    batch = create_method(config).suggest(9, 8, told)
    [behind] = [item for item in batch.suggestions if _of(item.key).member == 3]
    assert _of(behind.key).generation == 2
    assert _of(behind.key).parent == ahead != third


def test_earlier_generations_come_first_and_busy_members_get_nothing() -> None:
    config = _config()
    told = Told()
    told.add(create_method(config).suggest(0, 1, told))
    told.end(0, 1.0)
    [item] = create_method(config).suggest(1, 1, told).suggestions
    assert (_of(item.key).generation, _of(item.key).member) == (0, 1)
    told.add(create_method(config).suggest(1, 8, told))
    told.end(0, 1.0)
    told.add(create_method(config).suggest(5, 8, told))
    assert create_method(config).suggest(9, 8, told) == Batch((), 9)


def test_a_run_that_is_tried_again_keeps_its_member() -> None:
    config = _config()
    method = create_method(config)
    told, _ = _begun(config, [1.0, 2.0, 3.0, 4.0])
    method.suggest(4, 1, told)
    key = next(iter(told.runs))
    run = told.runs[key]
    told.runs[key] = Observation(run.run_id, RunState.PENDING, run.params, run.value, 0, key=key)
    members = [_of(item.key).member for item in method.suggest(4, 8, told).suggestions]
    assert members == [1, 2, 3]


def test_a_new_process_says_what_one_with_a_memory_says() -> None:
    config = _config()
    old, told, cursor = create_method(config), Told(), 0
    for step in range(40):
        batch = old.suggest(cursor, 2, told)
        assert batch == create_method(config).suggest(cursor, 2, told)
        told.add(batch)
        cursor = batch.cursor
        if batch.exhausted:
            break
        busy = [_of(key).member for key, run in told.runs.items() if not run.changed]
        told.end(busy[step % len(busy)], float(step % 7))
    assert len(told.runs) == 20


@pytest.mark.parametrize(
    ("distribution", "value", "factor", "expected"),
    [
        (LogUniform(1e-4, 1.0), 0.01, 1.2, 0.012),
        (Uniform(0.0, 1.0), 0.9, 1.2, 1.0),
        (Lattice(1, 1, 9), 2, 1.2, 3),
        (Lattice(1, 1, 9), 2, 0.8, 1),
        (Lattice(1, 1, 9), 9, 1.2, 9),
        (Lattice(0, 1, 1000), 500, 1.2, 600),
        (Choice((32, 16, 64)), 16, 1.2, 32),
        (Choice(("adam", "sgd")), "sgd", 1.2, "sgd"),
    ],
)
def test_exploring_multiplies_and_stays_in_the_domain(
    distribution: Any, value: Any, factor: float, expected: Any
) -> None:
    assert perturbed(distribution, value, factor) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"populaton": 4}, "did you mean 'population'?"),
        ({"quantile": 0.9}, "pbt.quantile must be between 0 and 0.5"),
        ({"perturb": [0, 1]}, "pbt.perturb must be a list of factors above 0"),
        ({"resource": "epoch"}, "pbt.resource says what interval counts"),
        ({"population": 1}, "pbt.population must be at least 2"),
    ],
)
def test_wrong_settings_are_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepFileError) as caught:
        _config(**change)
    assert message in str(caught.value)


def test_settings_of_another_method_are_told() -> None:
    with pytest.raises(SweepFileError, match="pbt has the settings of method: pbt, but the method is random"):
        from_mapping({"method": "random", "pbt": {"population": 4, "generations": 2}, "parameters": SPACE})


def test_early_termination_does_not_go_with_it() -> None:
    raw = {**_config().raw, "early_terminate": {"type": "asha", "min_iter": 1}}
    with pytest.raises(SweepFileError, match="does not go with method: pbt"):
        from_mapping(raw)


def test_the_estimate_is_members_times_generations() -> None:
    assert _config().expected_runs == 20


class Descent:
    """Noisy descent on a line: fast far away, and no closer to 0 than its rate; the best rate falls."""

    def __init__(self, place: float = 100.0, steps: int = 0) -> None:
        self.place, self.steps = place, steps

    def after(self, rate: float, steps: int) -> Descent:
        place = self.place
        for step in range(self.steps, self.steps + steps):
            place -= rate * (place + (5.0 if step % 2 else -5.0))
        return Descent(place, self.steps + steps)


def _best_of_population(folder: Path, seed: int) -> float:
    config = {
        "method": "pbt",
        "seed": seed,
        "metric": {"name": "loss", "goal": "minimize"},
        "pbt": {"population": 8, "generations": 20, "perturb": [0.5, 1.5]},
        "parameters": {"rate": {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}},
    }
    saved: dict[str | None, Descent] = {None: Descent()}
    with besom.Sweep(config, store=f"sqlite:///{folder}/{seed}.db") as sweep:
        while (run := sweep.ask()) is not None:
            parent = sweep.store.get_run(run.id).parent
            saved[run.id] = saved[parent].after(run.params["rate"], 4)
            sweep.tell(run, abs(saved[run.id].place))
        assert sweep.store.progress(sweep.id).started == 160
        best = sweep.best()
    assert best is not None
    assert best.value is not None
    return best.value


def _best_of_fixed(seed: int) -> float:
    space = from_mapping(
        {
            "method": "random",
            "parameters": {"rate": {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}},
        }
    ).space
    rates = [(space.draw(seed, index) or {})["rate"] for index in range(8)]
    return min(abs(Descent().after(rate, 80).place) for rate in rates)


@pytest.mark.slow
def test_where_a_schedule_is_needed_it_beats_fixed_values_at_the_same_cost(tmp_path: Path) -> None:
    population = sorted(_best_of_population(tmp_path, seed) for seed in range(5))
    fixed = sorted(_best_of_fixed(seed) for seed in range(5))
    assert population[2] < 0.5 * fixed[2]


PROGRAM = """
import json, os, signal, time
import besom

run = besom.init()
path = run.resume_path
state = json.loads(path.read_text()) if path else {"place": 100.0, "epoch": 0, "line": []}
if not state["line"] or state["line"][-1] != run.id:
    state["line"].append(run.id)
while not run.should_stop:
    state["place"] -= run.config.rate * state["place"]
    state["epoch"] += 1
    time.sleep(0.1)  # training
    file = run.save_checkpoint(os.path.join(run.dir, "checkpoints", "state.json"))
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(file)
    run.log({"loss": abs(state["place"]), "epoch": state["epoch"]})
    if run.parent and os.environ.get("DEADLY"):
        os.kill(int(os.environ["BESOM_AGENT_PID"]), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
"""
SWEEP = """
method: pbt
program: train.py
seed: 2
metric: {name: loss, goal: minimize}
pbt: {population: 3, generations: 4, interval: 2}
parameters: {rate: {min: 0.05, max: 0.5}}
"""


@pytest.mark.slow
def test_two_workers_train_a_population_through_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    behind = open_store(f"sqlite:///{tmp_path / 'behind.db'}")
    sweep = create_sweep(behind, parse(SWEEP))
    (tmp_path / "train.py").write_text(PROGRAM)
    server = ServerProcess(tmp_path, behind.url)
    monkeypatch.setenv("BESOM_TOKEN", Tokens(tmp_path / "tokens.json").create("agent", seconds=None)[1])
    server.start()
    try:
        command = [sys.executable, "-m", "besom", "agent", sweep.id, "--workers", "2", "--store", server.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        through = open_store(server.url)
        sentences = [explain(through, run).sentence for run in through.list_runs(sweep.id)]
        through.close()
    finally:
        server.kill()
    runs = {run.id: run for run in behind.list_runs(sweep.id)}
    behind.close()
    assert len(runs) == 12
    assert {run.state for run in runs.values()} == {RunState.STOPPED}, done.stderr
    assert {_of(run.key).generation for run in runs.values()} == {0, 1, 2, 3}
    for run in runs.values():
        before = _epoch(runs[run.parent]) if run.parent else 0
        assert _epoch(run) >= before + 2
    assert sum("generation 3 is over" in sentence for sentence in sentences) == 3


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_a_population_survives_the_death_of_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BESOM_DIR", str(tmp_path / ".besom"))
    url = request.getfixturevalue("postgres_url") if where == "postgresql" else None
    with open_lab(tmp_path, url=url) as lab:
        lab.write("train.py", PROGRAM)
        sweep = lab.sweep(SWEEP)
        monkeypatch.setenv("DEADLY", "1")
        assert lab.start_agent(sweep, lease_seconds=2).wait(30) == -signal.SIGKILL
        monkeypatch.delenv("DEADLY")
        assert lab.agent(sweep, workers=2).exit_code == 0
        runs = {run.id: run for run in lab.runs(sweep)}
        assert len(runs) == 12
        assert max(run.attempt for run in runs.values()) > 1
        for run in runs.values():
            assert run.state is RunState.STOPPED, run.error
            line = json.loads((lab.folder / ".besom/runs" / run.id / "checkpoints/state.json").read_text())
            assert line["line"][-2:] == [item for item in (run.parent, run.id) if item]
            before = _epoch(runs[run.parent]) if run.parent else 0
            assert _epoch(run) >= before + 2
        late = next(run for run in runs.values() if _of(run.key).generation == 3)
        said = explain(lab.store, late).sentence
        assert "generation 3 is over" in said
        assert f"run {late.parent}" in said


def _epoch(run: Run) -> int:
    return int(run.summary.get("epoch", 0))


def test_a_run_whose_parent_left_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    about = About(RunFile("b", 1, 2, "b", "s", parent="a"), RunFolder(tmp_path / "runs" / "b"), {})
    assert about.resumed
    with pytest.raises(UsageError, match=r"run a, which has left no checkpoint in .*filesystem that all"):
        _ = about.resume_path
    (tmp_path / "runs/a/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/a/checkpoints/last.ckpt").touch()
    assert about.resume_path == tmp_path / "runs/a/checkpoints/last.ckpt"
