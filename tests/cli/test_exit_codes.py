from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], bool]], None]


def test_a_run_that_works_leaves_with_0(call: Call) -> None:
    assert call("run", "sweep.yaml").returncode == 0


def test_a_sweep_whose_runs_all_fail_leaves_with_1_and_says_why(call: Call, folder: Path) -> None:
    (folder / "train.py").write_text("raise SystemExit('no data here')")
    done = call("run", "sweep.yaml")
    assert done.returncode == 1
    assert "no data here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_small_sweep_whose_runs_all_fail_leaves_with_1_too(call: Call, folder: Path) -> None:
    text = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(text.replace("[1, 2, 3, 4]", "[1]") + "  bad: {value: 1}\n")
    assert call("run", "sweep.yaml").returncode == 1
    assert call("run", "sweep.yaml").returncode == 1, "also where it only shows the result"


def test_a_program_that_is_not_there_leaves_with_2_before_anything_is_made(call: Call, folder: Path) -> None:
    (folder / "train.py").unlink()
    done = call("run", "sweep.yaml")
    assert done.returncode == 2
    assert "'train.py' was not found" in done.stderr
    assert call("ls", "--json").stdout == "[]\n"


def test_a_sweep_without_a_program_says_what_to_do(call: Call, folder: Path) -> None:
    (folder / "sweep.yaml").write_text("method: grid\nparameters: {x: {values: [1]}}\n")
    done = call("run", "sweep.yaml")
    assert done.returncode == 2
    assert "write program: train.py, or run a Python function with besom.agent" in done.stderr


def test_a_file_that_cannot_be_written_leaves_with_1_and_no_traceback(call: Call, swept: str) -> None:
    done = call("export", swept, "-o", "nowhere/runs.csv")
    assert done.returncode == 1
    assert done.stderr == "besom: nowhere/runs.csv: No such file or directory\n"
    assert "Traceback" in call("--debug", "export", swept, "-o", "nowhere/runs.csv").stderr


def test_a_wrong_sweep_file_leaves_with_2_and_every_place(call: Call, folder: Path) -> None:
    (folder / "sweep.yaml").write_text("method: gird\nparameters:\n  x: {valeus: [1]}\n")
    for command in (["check"], ["sweep"], ["run"]):
        done = call(*command, "sweep.yaml")
        assert done.returncode == 2
        assert "sweep.yaml:1:9" in done.stderr
        assert "sweep.yaml:3:" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (folder / ".besom").exists(), "a file is validated before anything is made"


def test_what_is_not_there_leaves_with_3_and_a_suggestion(call: Call, created: str) -> None:
    wrong = created[:-1] + ("a" if created[-1] != "a" else "b")
    done = call("show", wrong)
    assert done.returncode == 3
    assert f"did you mean '{created}'?" in done.stderr


def test_a_store_that_cannot_be_used_leaves_with_4(call: Call, folder: Path) -> None:
    (folder / "broken.db").write_bytes(b"this is no database, however long it is" * 200)
    done = call("ls", "--store", "broken.db")
    assert done.returncode == 4
    assert "broken.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(call: Call, created: str) -> None:
    done = call("--debug", "show", "nowhere0")
    assert done.returncode != 0
    assert "NotFoundError" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_agent_told_to_end_gives_its_run_back(
    start: Start, call: Call, folder: Path, until: Until, *, sent: signal.Signals, code: int
) -> None:
    (folder / "train.py").write_text((folder / "slow.py").read_text())
    running = start("run", "sweep.yaml", "--grace", "5")
    runs = folder / ".besom" / "runs"
    until(lambda: any("begun" in log.read_text() for log in runs.glob("*/output.log")))
    os.kill(running.pid, sent)
    if sent is signal.SIGINT:  # the first one waits for the run
        talk = running.stderr
        assert talk is not None
        until(lambda: "no more runs are taken" in talk.readline())
        os.kill(running.pid, sent)
    running.communicate(timeout=30)
    assert running.returncode == code
    assert '"preempted": 1' in call("ls", "--json").stdout


def test_a_reader_that_leaves_early_is_no_error(swept: str) -> None:
    command = f"{sys.executable} -m besom export {swept} --format json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=Path.cwd(), timeout=30
    )
    assert done.stdout == "["
    assert done.stderr == ""


def test_a_sweep_is_not_ended_by_the_end_of_its_audience(call: Call, folder: Path) -> None:
    command = f"{sys.executable} -m besom run sweep.yaml 2>&1 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("created sweep")
    assert "4/4" in call("ls").stdout
