from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from besom.cli.lookup import complete_id
from besom.errors import UsageError

Call = Callable[..., subprocess.CompletedProcess[str]]
Invoke = Callable[..., Result]


def _json(invoke: Invoke, *words: object) -> Any:
    result = invoke(*words, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_looking_makes_no_store(invoke: Invoke, folder: Path) -> None:
    assert invoke("ls").exit_code == 0
    assert invoke("ls", "--json").stdout == "[]\n"
    assert invoke("doctor").exit_code == 0
    for words in (["watch"], ["best"], ["show", "abc"], ["logs", "abc"], ["ls", "abc"], ["export", "abc"]):
        result = invoke(*words)
        assert result.exit_code == 3
        assert "there is no store at" in result.stderr
    assert not (folder / ".besom").exists()


def test_an_empty_store_has_nothing_to_show(invoke: Invoke, created: str) -> None:
    assert "no such runs" in invoke("ls", created).stderr
    assert "has reported a finite 'loss' yet" in invoke("best", created).stderr
    assert invoke("best", created).exit_code == 3


def test_sweeps_are_listed(invoke: Invoke, swept: str) -> None:
    [header, row] = invoke("ls").stdout.splitlines()
    assert header.split() == ["id", "name", "method", "state", "runs", "best", "age"]
    assert row.split()[0] == swept
    assert row.split()[-5:] == ["grid", "finished", "4/4", "0", "now"]
    [sweep] = _json(invoke, "ls")
    assert sweep["runs"] == {"finished": 4}
    assert sweep["metric"] == {"name": "loss", "goal": "minimize", "target": None}
    assert _json(invoke, "ls", "--project", "none") == []


def test_runs_are_listed(invoke: Invoke, swept: str) -> None:
    header, *rows = invoke("ls", swept).stdout.splitlines()
    assert header.split() == ["#", "id", "state", "loss", "time", "parameters"]
    assert [row.split()[-1] for row in rows] == ["x=1", "x=2", "x=3", "x=4"]
    assert [run["params"] for run in _json(invoke, "ls", swept)] == [{"x": x} for x in (1, 2, 3, 4)]
    assert len(_json(invoke, "ls", swept, "--limit", 2)) == 2
    assert _json(invoke, "ls", swept, "--state", "failed") == []
    assert invoke("ls", "--state", "failed").exit_code == 2


def test_runs_outside_every_sweep_are_listed(invoke: Invoke, folder: Path) -> None:
    subprocess.run([sys.executable, "train.py", "--x", "3"], check=True, capture_output=True)
    assert "`besom ls --solo` lists the runs outside of sweeps" in invoke("ls").stderr
    [run] = _json(invoke, "ls", "--solo")
    assert (run["sweep"], run["state"], run["summary"]) == (None, "finished", {"loss": 0})
    title, line = invoke("ls", "--solo").stdout.splitlines()
    assert title.split() == ["#", "id", "state", "metric", "time", "parameters"]
    assert line.split()[1:3] == [run["id"], "finished"]
    assert line.endswith("x=3 bad=null")
    assert invoke("ls", "abcdef", "--solo").exit_code == 2
    assert "no such runs" in invoke("ls", "--solo", "--state", "failed").stderr


def test_more_runs_than_the_space_has_are_not_out_of_it(
    invoke: Invoke, call: Call, swept: str, folder: Path
) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text.replace("[1, 2, 3, 4]", "[1, 2]"))
    call("extend", swept, "sweep.yaml")
    assert invoke("ls").stdout.splitlines()[1].split()[4] == "4"


def test_a_sweep_is_shown(invoke: Invoke, swept: str) -> None:
    shown = invoke("show", swept).stdout
    assert "program: train.py" in shown
    assert "4/4" in shown
    assert "x=3" in shown
    sweep = _json(invoke, "show", swept)
    assert sweep["config"]["method"] == "grid"
    assert len(sweep["agents"]) == 1
    assert sweep["best"]["value"] == 0


def test_the_job_of_an_agent_is_shown(invoke: Invoke, created: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1234567")
    invoke("agent", created)
    assert [agent["job"] for agent in _json(invoke, "show", created)["agents"]] == ["slurm:1234567"]
    assert "slurm:1234567" in invoke("show", created).stdout
    assert "slurm:1234567" in invoke("show", _json(invoke, "best", created)["id"]).stdout


def test_a_run_is_shown(invoke: Invoke, swept: str) -> None:
    run_id = _json(invoke, "best", swept)["id"]
    shown = invoke("show", run_id).stdout
    assert "x = 3" in shown
    assert "loss = 0" in shown
    run = _json(invoke, "show", run_id)
    assert Path(run["folder"]).is_dir()
    assert [attempt["state"] for attempt in run["attempts"]] == ["finished"]


def test_a_run_that_failed_is_listed_with_its_reason(invoke: Invoke, call: Call, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text + "  bad: {value: 2}\nmax_attempts: 2\n")
    call("run", "sweep.yaml")
    [sweep] = _json(invoke, "ls")
    title, _, failed, *_ = invoke("ls", sweep["id"]).stdout.splitlines()
    assert title.endswith("why")
    assert failed.endswith("  ValueError: this x is bad")
    shown = invoke("show", failed.split()[1]).stdout.splitlines()
    assert [line for line in shown if line.endswith("s  ValueError: this x is bad")] == shown[-2:]


def test_a_run_that_waits_takes_no_time(invoke: Invoke, call: Call, swept: str) -> None:
    run_id = _json(invoke, "best", swept)["id"]
    call("retry", swept, run_id)
    [line] = [line for line in invoke("ls", swept).stdout.splitlines() if run_id in line]
    assert line.split()[2:5] == ["pending", "0", "-"]


def test_every_attempt_is_shown(invoke: Invoke, call: Call, swept: str) -> None:
    run_id = _json(invoke, "best", swept)["id"]
    call("retry", swept, run_id)
    call("agent", swept)
    assert len(_json(invoke, "show", run_id)["attempts"]) == 2
    assert "attempt  state" in invoke("show", run_id).stdout


def test_the_best_run_is_shown_with_its_command(invoke: Invoke, swept: str) -> None:
    best = _json(invoke, "best")
    assert best["params"] == {"x": 3}
    assert best["command"][-2:] == ["train.py", "--x=3"]
    assert "train.py --x=3" in invoke("best", swept).stdout


def test_from_another_folder_the_command_says_where(
    invoke: Invoke, swept: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert f"cd {folder} && " in invoke("best", swept).stdout


def test_the_beginning_of_an_id_is_enough(invoke: Invoke, swept: str) -> None:
    assert _json(invoke, "show", swept[:4])["id"] == swept
    run_id = _json(invoke, "best", swept)["id"]
    assert _json(invoke, "show", run_id[:6])["id"] == run_id
    assert invoke("show", swept[:2]).exit_code == 3


def test_the_beginning_of_several_ids_is_not() -> None:
    assert complete_id("run", "abcd", ["abcde", "abcx"]) == "abcde"
    with pytest.raises(UsageError, match="begins 2 ids: abcde, abcx; write more of it"):
        complete_id("run", "abc", ["abcde", "abcx", "xyz"])


def test_what_a_run_printed_is_printed(invoke: Invoke, call: Call, swept: str) -> None:
    run_id = _json(invoke, "best", swept)["id"]
    assert call("logs", run_id).stdout == "x is 3\n"
    assert call("logs", run_id, "-f").stdout == "x is 3\n"
    assert json.loads(call("logs", run_id, "--json").stdout) == {"run": run_id, "line": "x is 3"}


def test_a_run_that_printed_nothing_is_no_error(invoke: Invoke, call: Call, created: str) -> None:
    run_id = call("enqueue", created, "x=2").stdout.strip()
    result = invoke("logs", run_id)
    assert result.exit_code == 0
    assert "has printed nothing here" in result.stderr


def test_logs_follows_a_run_to_its_end(
    call: Call, start: Callable[..., Any], folder: Path, created: str
) -> None:
    run_id = call("enqueue", created, "x=2").stdout.strip()
    following = start("logs", run_id, "-f")
    call("agent", created, "--count", 1)
    assert following.communicate(timeout=20)[0] == "x is 2\n"


def test_watch_prints_a_line_for_each_change_and_ends_with_the_sweep(
    call: Call, start: Callable[..., Any], created: str
) -> None:
    watching = start("watch", created, "--json", "--interval", "0.05")
    call("agent", created)
    looks = [json.loads(line) for line in watching.communicate(timeout=20)[0].splitlines()]
    assert looks[0]["runs"] == {}
    assert looks[-1]["state"] == "finished"
    assert looks[-1]["runs"] == {"finished": 4}
    assert call("watch").stdout.startswith(f"{created} finished: 4/4 runs, best loss 0 (run 3)")


def test_runs_are_exported(invoke: Invoke, swept: str, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(invoke("export", swept).stdout)))
    assert [row["params.x"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["summary.loss"] for row in rows] == ["4", "1", "0", "1"]
    lines = invoke("export", swept, "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["params"]["x"] for line in lines] == [1, 2, 3, 4]
    invoke("export", swept, "--format", "json", "-o", "runs.json")
    assert json.loads((folder / "runs.json").read_text()) == _json(invoke, "ls", swept)
    assert _json(invoke, "export", swept) == _json(invoke, "ls", swept)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("plain", "plain"),
        (-1, "-1"),
        (1e-05, "1e-05"),
        (True, "true"),
        (None, ""),
        ([1, 2], "[1, 2]"),
    ],
)
def test_no_cell_of_a_csv_is_a_formula(value: object, cell: str) -> None:
    from besom.cli.export import safe_cell

    assert safe_cell(value) == cell


def test_the_doctor_finds_a_healthy_store(invoke: Invoke, swept: str) -> None:
    found = _json(invoke, "doctor")
    assert found["ok"]
    assert "1 sweep, 0 runs running" in [finding["words"] for finding in found["findings"]]
    assert "integrity" in invoke("doctor").stdout


def test_the_doctor_finds_a_broken_store(invoke: Invoke, swept: str, folder: Path) -> None:
    store = folder / ".besom" / "besom.db"
    for beside in folder.glob(".besom/besom.db-*"):
        beside.unlink()
    store.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout
