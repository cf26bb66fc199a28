from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from besom.agent.rehearse import Rehearsal, rehearse
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.sweepfile import from_mapping


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    config = from_mapping(
        {"program": "train.py", "method": "grid", "parameters": {"x": {"value": 1e-05}, "y": {"value": "1"}}}
    )
    folder = RunFolder(tmp_path / "runs" / "rehearsal")
    folder.path.mkdir(parents=True)
    return Rehearsal(config, {"x": 1e-05, "y": "1"}, folder, tmp_path)


def test_a_program_that_is_asked_has_the_runs_parameters_and_keeps_nothing(rehearsal: Rehearsal) -> None:
    assert rehearsal.argv()[-2:] == ["--x=1e-05", "--y=1"]
    code = (
        "import besom, json, os; run = besom.init(); run.log({'loss': 1});"
        "print(json.dumps([json.load(open(os.environ['BESOM_PARAMS_FILE'])), run.id]))"
    )
    answer = rehearsal.ask([sys.executable, "-c", code])
    assert answer.code == 0, answer.errors
    assert json.loads(answer.output) == [{"x": 1e-05, "y": "1"}, ""]


def test_a_program_that_does_not_answer_is_killed(rehearsal: Rehearsal) -> None:
    with pytest.raises(UsageError, match=r"has not said within 0\.2 s"):
        rehearsal.ask([sys.executable, "-c", "import time; time.sleep(60)"], patience=0.2)


def test_a_program_that_cannot_be_started_is_told(rehearsal: Rehearsal) -> None:
    with pytest.raises(UsageError, match="cannot be started"):
        rehearsal.ask(["/nowhere/at/all"])


def test_a_program_that_no_checker_knows_is_not_asked(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    assert rehearse(rehearsal.config, rehearsal.params) is None
    assert not (tmp_path / "ran").exists()
