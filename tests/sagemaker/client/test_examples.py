from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from besom.records import RunState
from besom.store import open_store
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EXAMPLES = Path(__file__).parents[3] / "examples" / "sagemaker"


@pytest.fixture
def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = folder / "examples"
    shutil.copytree(EXAMPLES, place, ignore=shutil.ignore_patterns(".besom"))
    monkeypatch.chdir(place)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return place


def besom(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "besom", *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("job", ["job.yaml", "spot.yaml"])
def test_the_first_command_of_the_readme_runs_without_aws(copied: Path, job: str) -> None:
    said = besom("sagemaker", "dev", "sweep.yaml", "--job", job, "--count", "2")
    assert "2 runs finished" in said
    assert "best: run" in said


def test_the_secret_of_the_example_is_masked(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied / "with_secret")
    monkeypatch.setenv("SERVICE_TOKEN", "planted-1234-planted")
    said = besom(
        "sagemaker", "dev", "sweep.yaml", "--source-dir", "src", "--secret", "SERVICE_TOKEN", "--logs"
    )
    assert "2 runs finished" in said
    assert "logging in with ***" in said
    assert "planted" not in said


def test_the_request_of_each_job_file_is_one_that_sagemaker_takes(copied: Path) -> None:
    for job in ("job.yaml", "spot.yaml"):
        assert SageMakerSweep(job, "sweep.yaml").preview()["TrainingJobName"].startswith("besom-")


def launch(bench: Bench, folder: Path, *words: str) -> str:
    """Run a script of the examples that sweeps with one run; gives what it prints."""
    bench.add_bucket("my-bucket")
    sweep = (folder / "sweep.yaml").read_text()
    (folder / "sweep.yaml").write_text(sweep.replace("run_cap: 6", "run_cap: 1"))
    done = subprocess.run(
        words,
        env={**os.environ, "ROLE": bench.add_role(), "POLL": "0.5"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_model_trainer_of_the_example_runs_its_sweep(bench: Bench, copied: Path) -> None:
    assert "best: " in launch(bench, copied, sys.executable, "-W", "ignore", "launch_v3.py")


@pytest.mark.timeout(900)
def test_the_estimator_of_the_example_runs_its_sweep(bench: Bench, copied: Path, v2_python: Path) -> None:
    # The program's own packages are those of this environment, behind the SDK 2 of the other.
    here = [path for path in sys.path if Path(path).name in ("site-packages", "core", "integrations")]
    code = f"import runpy, sys; sys.path += {here!r}; runpy.run_path('launch_v2.py', run_name='__main__')"
    said = launch(bench, copied, str(v2_python), "-W", "ignore", "-c", code)
    assert "best: " in said
    (life,) = bench.lives.values()
    assert "pytorch-training:2.5" in life.request["AlgorithmSpecification"]["TrainingImage"]


def test_an_interrupted_spot_job_goes_on_where_it_was(bench: Bench, copied: Path) -> None:
    bench.add_bucket("my-bucket")
    sweep = (copied / "sweep.yaml").read_text()
    longer = sweep.replace("epochs: {value: 4}", "epochs: {value: 12}").replace("run_cap: 6", "run_cap: 1")
    (copied / "sweep.yaml").write_text(longer)
    # Held at its fourth epoch until it is interrupted, or it might be done before anybody has looked.
    told_to_go = copied / "go"
    program = (copied / "src" / "train.py").read_text()
    assert program.count("        if self.run.should_stop:\n") == 1
    held = f"""        import time
        if trainer.current_epoch >= 3 and not self.run.resumed:
            while not __import__("pathlib").Path({str(told_to_go)!r}).exists():
                time.sleep(0.05)
            time.sleep(0.3)
        if self.run.should_stop:
"""
    (copied / "src" / "train.py").write_text(program.replace("        if self.run.should_stop:\n", held))
    found = SageMakerSweep("spot.yaml", "sweep.yaml", poll_seconds=0.3, trials_per_job=1)
    interrupted: list[int] = []

    def interrupt(reached: int) -> None:
        if reached >= 2 and not interrupted:
            interrupted.append(reached)
            bench.interrupt(next(iter(bench.lives)))
            told_to_go.touch()

    import threading

    done = threading.Event()

    def watch() -> None:
        store = open_store()
        while not done.wait(0.1):
            for one in store.list_sweeps():
                for run in store.list_runs(one.id):
                    rows = store.history(run.id)
                    interrupt(rows[-1].step if rows else 0)
        store.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert found.run().exit_code == 0
    finally:
        done.set()
        watcher.join()
    (run,) = found.runs()
    assert interrupted
    assert run.state is RunState.FINISHED
    assert run.attempt == 1
    store = open_store()
    steps = [row.step for row in store.history(run.id)]
    store.close()
    assert steps[-1] == 11, bench.log(next(iter(bench.lives)))
    assert len(steps) <= 13, "epochs were trained again"
    name = next(iter(bench.lives))
    told = [step["Status"] for step in bench.describe(name)["SecondaryStatusTransitions"]]
    assert "Interrupted" in told


def test_a_package_that_is_only_installed_editable_comes_along(copied: Path) -> None:
    place = copied / "own_package"
    subprocess.run([sys.executable, "-m", "venv", str(place / "ve")], check=True)
    python = str(place / "ve" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "-e", str(place)]
    installed = subprocess.run(install, check=False, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    (packages,) = (place / "ve").glob("lib/python*/site-packages")
    (packages / "besom-tests.pth").write_text(
        "\n".join(path for path in sys.path if Path(path).name in ("site-packages", "core", "integrations"))
    )
    done = subprocess.run(
        [python, "-m", "besom", "sagemaker", "dev", "sweep.yaml", "--source-dir", "app"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert "best: run 2" in done.stdout, done.stderr
