"""Lightning's own tests, with besom's classes in them. They are fetched by hand, never by a test.

git clone --depth 1 --branch 2.6.5 https://github.com/Lightning-AI/pytorch-lightning
BESOM_LIGHTNING_SOURCE=$PWD/pytorch-lightning pytest tests/lightning/test_foreign_suites.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCE = os.environ.get("BESOM_LIGHTNING_SOURCE")
ROOT = Path(__file__).parents[2]
PYTEST = ("-q", "-rA", "-p", "foreign_plugin", "-p", "no:cacheprovider", "-W", "ignore", "--tb=no")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        SOURCE is None,
        reason="set BESOM_LIGHTNING_SOURCE to a checkout of pytorch-lightning at tag 2.6.5; see this file",
    ),
]


def outcomes(kind: str, home: Path, *words: str) -> dict[str, str]:
    """Run tests of Lightning's; give the outcome by test."""
    report = home / f"{kind or 'plain'}.txt"
    paths = [ROOT / "core", ROOT / "integrations", ROOT / "tests/lightning", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PYTEST, *words],
        cwd=Path(str(SOURCE)) / "tests",
        env={
            **os.environ,
            "BESOM_FOREIGN": kind,
            "BESOM_DIR": str(home / ".besom"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        },
        text=True,
        capture_output=True,
        check=False,
    )
    report.write_text(done.stdout + done.stderr)
    words_of = (line.split(" ", 2) for line in done.stdout.splitlines())
    return {
        words[1]: words[0]
        for words in words_of
        if len(words) > 1 and words[0] in ("PASSED", "FAILED", "ERROR", "SKIPPED") and "::" in words[1]
    }


def test_sweep_logger_passes_what_all_loggers_must(tmp_path: Path) -> None:
    found = outcomes(
        "logger",
        tmp_path,
        "tests_pytorch/loggers/test_all.py",
        "-k",
        "fit_test_all or pickle_all or initialization or reset_correctly",
    )
    assert len(found) == 5
    assert set(found.values()) == {"PASSED"}


def test_sweep_logger_passes_in_the_place_of_the_loggers_that_lightning_tests_loggers_with(
    tmp_path: Path,
) -> None:
    found = outcomes("logger", tmp_path, "tests_pytorch/loggers/test_logger.py")
    assert len(found) == 15
    assert set(found.values()) == {"PASSED"}


@pytest.mark.parametrize(
    "suite",
    [
        "callbacks/test_early_stopping.py",
        "models/test_hooks.py",
        "loops",
        "tuner",
        "callbacks/test_callbacks.py",
        "loggers/test_logger.py",
    ],
)
def test_a_sweep_callback_on_every_trainer_changes_no_outcome(tmp_path: Path, suite: str) -> None:
    words = (f"tests_pytorch/{suite}", "-k", "not dynamo and not cuda and not mps")
    assert outcomes("callback", tmp_path, *words) == outcomes("", tmp_path, *words)


@pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="Lightning's tests of LightningCLI import tensorboard"
)
def test_a_sweep_callback_changes_no_command_line_but_for_where_checkpoints_lie(tmp_path: Path) -> None:
    words = ("tests_pytorch/test_cli.py", "-k", "not jsonnet")
    assert outcomes("callback-in-place", tmp_path, *words) == outcomes("", tmp_path, *words)


def test_a_sweep_callback_is_in_the_lists_of_callbacks_and_changes_nothing_else_there(tmp_path: Path) -> None:
    listed = {
        "test_checkpoint_callbacks_are_last",
        "test_attach_model_callbacks",
        "test_configure_external_callbacks",
    }
    words = (
        "tests_pytorch/trainer/connectors/test_callback_connector.py",
        "-k",
        f"not ({' or '.join(listed)})",
    )
    found = outcomes("callback", tmp_path, *words)
    assert len(found) == 9
    assert found == outcomes("", tmp_path, *words)
