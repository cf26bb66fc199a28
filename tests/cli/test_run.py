from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

Call = Callable[..., subprocess.CompletedProcess[str]]


def _sweeps(call: Call) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(call("ls", "--json").stdout)
    return found


def test_run_ends_with_the_best_run_and_its_command(call: Call, folder: Path) -> None:
    done = call("run", "sweep.yaml", "--workers", 2)
    assert done.returncode == 0
    assert "loss        0" in done.stdout
    assert "x = 3" in done.stdout
    command = done.stdout.partition("command")[2].strip()
    assert (
        subprocess.run(command, shell=True, cwd=folder, check=False, capture_output=True).stdout
        == b"x is 3\n"
    )


def test_talk_goes_to_stderr_one_line_for_each_event(call: Call) -> None:
    done = call("run", "sweep.yaml")
    for number in range(1, 5):
        assert f"run {number} (" in done.stderr
    assert "started: x=1" in done.stderr
    assert "agent" not in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_the_same_command_continues_the_sweep(call: Call) -> None:
    first = call("run", "sweep.yaml", "--count", 2)
    assert first.returncode == 0
    assert "go on: besom run sweep.yaml" in first.stderr
    again = call("run", "sweep.yaml", "--count", 2)
    assert "has its runs" in again.stderr
    last = call("run", "sweep.yaml")
    assert "continuing sweep" in last.stderr
    [sweep] = _sweeps(call)
    assert sweep["runs"] == {"finished": 4}


def test_a_target_that_is_reached_is_told(call: Call, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text.replace("minimize", "minimize, target: 1"))
    done = call("run", "sweep.yaml")
    assert "the sweep's target is reached: loss 1" in done.stderr
    assert "2 runs" not in done.stderr


def test_several_goals_end_with_the_runs_that_none_beats(call: Call, folder: Path) -> None:
    (folder / "train.py").write_text(
        "import besom\nwith besom.init() as run:\n"
        "    run.log({'loss': run.config.x, 'time': 9 - run.config.x})\n"
    )
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(
        text.replace("grid", "random").replace(
            "metric: {name: loss, goal: minimize}", "metrics: [{name: loss}, {name: time}]"
        )
    )
    assert "loss, minimize; time, minimize" in call("check", "sweep.yaml").stdout
    titles, *front = call("run", "sweep.yaml").stdout.splitlines()
    assert titles.split() == ["run", "loss", "time", "parameters"]
    assert [line.split()[1:3] for line in front] == [["1", "8"], ["2", "7"], ["3", "6"], ["4", "5"]]
    assert "loss, minimize; time, minimize" in call("show", _sweeps(call)[0]["id"]).stdout


def test_why_it_left_is_said_once(call: Call, folder: Path) -> None:
    (folder / "train.py").write_text("raise SystemExit('no data here')")
    assert call("run", "sweep.yaml").stderr.count("3 runs failed within") == 1
    (folder / "other.yaml").write_text((folder / "sweep.yaml").read_text() + "run_cap: 3\n")
    said = call("agent", call("sweep", "other.yaml").stdout.strip(), "--count", 1).stderr
    assert said.count("took as many runs as it was to") == 1
    assert said.endswith("agent left: 1 failed\n")


def test_what_wandbs_agent_calls_term_timeout_is_the_grace(call: Call, folder: Path) -> None:
    (folder / "train.py").write_text("import time; time.sleep(1.2)")
    done = call("agent", call("sweep", "sweep.yaml").stdout.strip(), "--count", 1, "-t", 1)
    assert "1 finished" in done.stderr, "a run may take longer"


def test_a_finished_sweep_shows_its_result_and_new_starts_another(call: Call, swept: str) -> None:
    done = call("run", "sweep.yaml")
    assert done.returncode == 0
    assert f"sweep {swept} of this file has finished after 4 runs" in done.stderr
    assert "x = 3" in done.stdout
    assert len(_sweeps(call)) == 1
    call("run", "sweep.yaml", "--new", "--count", 1)
    assert len(_sweeps(call)) == 2


def test_a_changed_file_is_another_sweep(call: Call, swept: str, folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("4]", "5]"))
    call("run", "sweep.yaml", "--count", 1)
    assert len(_sweeps(call)) == 2


def test_a_paused_sweep_is_resumed(call: Call, folder: Path) -> None:
    call("run", "sweep.yaml", "--count", 1)
    [sweep] = _sweeps(call)
    call("pause", sweep["id"])
    call("run", "sweep.yaml")
    assert _sweeps(call)[0]["state"] == "finished"


def test_failed_runs_are_named_with_what_to_do(call: Call, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text + "  bad: {value: 2}\n")
    done = call("run", "sweep.yaml")
    assert done.returncode == 0
    assert "1 run failed; run again with: besom retry" in done.stderr
    assert "ValueError: this x is bad" in done.stderr


def test_verbose_shows_what_the_programs_print(call: Call) -> None:
    assert "| x is 1" in call("run", "sweep.yaml", "--verbose", "--count", 1).stderr


def test_a_sweep_without_a_metric_runs_too(call: Call, folder: Path) -> None:
    lines = [line for line in (folder / "sweep.yaml").read_text().splitlines() if "metric" not in line]
    (folder / "sweep.yaml").write_text("\n".join(lines))
    done = call("run", "sweep.yaml")
    assert done.returncode == 0
    assert done.stdout == ""
    best = call("best")
    assert best.returncode == 3
    assert "has no metric" in best.stderr


def test_what_to_do_next_names_the_store_that_was_named(call: Call) -> None:
    done = call("run", "sweep.yaml", "--count", 1, "--store", "my runs.db")
    *_, go_on, look = done.stderr.splitlines()
    assert go_on == "go on: besom run sweep.yaml --store 'my runs.db'"
    words = shlex.split(look.removeprefix("all runs: besom "))
    assert call(*words).stdout.splitlines()[1].split()[2] == "finished"


def test_sweep_prints_the_id_alone_and_agent_runs_it(call: Call) -> None:
    made = call("sweep", "sweep.yaml", "--project", "digits", "--entity", "me", "--name", "first")
    sweep_id = made.stdout.strip()
    assert sweep_id.isalnum()
    assert "Est. Runs 4" in made.stderr
    assert f"besom agent me/digits/{sweep_id}" in made.stderr
    done = call("agent", "-p", "digits", "-e", "me", sweep_id, "--count", 1)
    assert "1 finished" in done.stderr
    done = call("agent", f"me/digits/{sweep_id}")
    assert done.returncode == 0
    [sweep] = _sweeps(call)
    assert (sweep["name"], sweep["state"], sweep["project"]) == ("first", "finished", "digits")


def test_a_sweep_begins_with_prior_runs(call: Call, swept: str, folder: Path) -> None:
    (folder / "sweep.yaml").write_text((folder / "sweep.yaml").read_text().replace("4]", "4, 5]"))
    made = call("sweep", "sweep.yaml", "--prior-sweep", swept, "--prior-filter", "loss < 2")
    assert made.returncode == 0, made.stderr
    assert "prior run" in made.stderr
    prior = json.loads(call("ls", made.stdout.strip(), "--json").stdout)
    assert {run["source"] for run in prior} == {"prior"}
    assert all(run["value"] < 2 for run in prior)
    none = call("sweep", "sweep.yaml", "--prior-filter", "loss < -5")
    assert none.returncode == 2


def test_wandbs_verbs_are_options_of_sweep(call: Call, created: str) -> None:
    call("agent", created, "--count", 1)
    states: list[object] = []
    for verb in ("--pause", "--resume", "--stop", "--resume", "--cancel"):
        assert call("sweep", verb, created).returncode == 0
        states.append(_sweeps(call)[0]["state"])
    assert states == ["paused", "running", "stopped", "running", "canceled"]
    assert call("sweep", "--pause", created, "--name", "x").returncode == 2
