from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]
Until = Callable[[Callable[[], bool]], None]


def _runs(call: Call, sweep: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("ls", sweep, "--json").stdout)
    return found


def _state(call: Call, sweep: str) -> str:
    return str(json.loads(call("show", sweep, "--json").stdout)["state"])


def test_a_sweep_is_paused_resumed_stopped_and_canceled(call: Call, created: str) -> None:
    call("agent", created, "--count", 1)
    for verb, state in [
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
        ("resume", "running"),
        ("cancel", "canceled"),
    ]:
        done = call(verb, created)
        assert done.returncode == 0, done.stderr
        assert _state(call, created) == state
    refused = call("resume", created)
    assert refused.returncode == 1
    assert "canceled" in refused.stderr


def test_a_queued_run_is_stopped(call: Call, created: str) -> None:
    run_id = call("enqueue", created, "x=2").stdout.strip()
    done = call("stop", run_id, "--reason", "not now")
    assert done.returncode == 0
    assert "is stopped" in done.stderr
    [run] = _runs(call, created)
    assert (run["state"], run["stop_reason"]) == ("stopped", "not now")


def test_failed_runs_are_retried(call: Call, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text + "  bad: {value: 2}\n")
    sweep = call("sweep", "sweep.yaml").stdout.strip()
    call("agent", sweep)
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("raise", "print(1) #"))
    retried = call("retry", sweep)
    assert len(retried.stdout.split()) == 1
    assert "1 run to be run again" in retried.stderr
    call("agent", sweep)
    assert {run["state"] for run in _runs(call, sweep)} == {"finished"}
    assert "no runs that are failed or crashed" in call("retry", sweep).stderr
    assert call("retry", sweep, "--state", "killed").stdout == ""


def test_a_forgotten_run_is_run_again(call: Call, swept: str) -> None:
    first = _runs(call, swept)[0]["id"]
    done = call("rm", first)
    assert f"besom resume {swept} && besom agent {swept}" in done.stderr
    assert len(_runs(call, swept)) == 3
    call("resume", swept)
    call("agent", swept)
    assert sorted(run["params"]["x"] for run in _runs(call, swept)) == [1, 2, 3, 4]


def test_a_chosen_run_is_next(call: Call, created: str) -> None:
    run_id = call("enqueue", created, "x=4").stdout.strip()
    call("agent", created, "--count", 1)
    [run] = _runs(call, created)
    assert (run["id"], run["params"], run["source"]) == (run_id, {"x": 4}, "enqueued")


def test_a_chosen_run_may_be_json(call: Call, created: str) -> None:
    assert call("enqueue", created, "--json", '{"x": 3}').returncode == 0
    assert _runs(call, created)[0]["params"] == {"x": 3}


def test_a_chosen_run_is_checked(call: Call, created: str) -> None:
    for words in (
        ["x=9"],
        ["y=1"],
        ["x"],
        ["=1"],
        [],
        ["--json", "{"],
        ["--json", "[1]"],
        ["x=1", "--json", "{}"],
    ):
        done = call("enqueue", created, *words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
    call("enqueue", created, "x=1")
    twice = call("enqueue", created, "x=1")
    assert twice.returncode == 1
    assert "already" in twice.stderr


def test_values_are_typed_as_in_yaml(call: Call, folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: random\nrun_cap: 1\nparameters:\n"
        "  lr: {min: 0.0, max: 1.0}\n  model: {parameters: {act: {values: [on, relu]}}}\n"
        "  flag: {values: [true, false]}\n"
    )
    sweep = call("sweep", "sweep.yaml").stdout.strip()
    done = call("enqueue", sweep, "lr=1e-3", "model.act=on", "flag=true")
    assert done.returncode == 0, done.stderr
    assert _runs(call, sweep)[0]["params"] == {"lr": 0.001, "model": {"act": "on"}, "flag": True}


def test_a_sweep_is_extended(call: Call, swept: str, folder: Path) -> None:
    (folder / "more.yaml").write_text((folder / "sweep.yaml").read_text().replace("4]", "4, 5]"))
    done = call("extend", swept, "more.yaml")
    assert done.returncode == 0, done.stderr
    assert "runs 4/5" in done.stderr
    call("agent", swept)
    assert [run["params"]["x"] for run in _runs(call, swept)] == [1, 2, 3, 4, 5]


def test_agents_are_launched_here(
    call: Call, created: str, until: Callable[[Callable[[], bool]], None]
) -> None:
    preview = call("launch", "local", created, "--jobs", 2, "--dry-run", "--", "--workers", 2)
    assert preview.stdout.count(f"agent {created} --workers 2") == 2
    done = call("launch", "local", created, "--", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
    until(lambda: _state(call, created) == "finished")
    assert call("launch", "moon", created).returncode == 3
    assert "launch local [OPTIONS] SWEEP [-- AGENT OPTIONS]" in call("launch", "local", "--help").stdout


@pytest.mark.parametrize(("words", "said"), [(["--workres", 2], "--workers"), (["--count", 0], "x>=1")])
def test_agents_are_not_launched_with_options_that_each_would_refuse(
    call: Call, created: str, words: list[Any], said: str
) -> None:
    done = call("launch", "local", created, "--", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
