from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom_sagemaker.job import Launch, StopRequest
from besom_sagemaker.package import besom_archive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAIN = """
import argparse, besom, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--model.lr", type=float)
parser.add_argument("--name")
parser.add_argument("--fixed", type=int)
args = vars(parser.parse_args())
run = besom.init()
print("argv", json.dumps(args), "config", json.dumps(run.config.as_dict()), flush=True)
print("places", os.getcwd(), os.environ["SM_MODEL_DIR"], sorted(json.loads(os.environ["SM_HPS"])), flush=True)
open(os.environ["SM_MODEL_DIR"] + "/m.txt", "w").write("1")
run.log({"loss": args["model.lr"]})
if args["name"] == "wait":
    def save(*_):
        print(f"SIGTERM {time.time():.3f}", flush=True)
        time.sleep(1)  # as long as a checkpoint takes
        print("saved", flush=True)
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    print("ready", flush=True)
    time.sleep(60)
if args["name"] == "fail":
    raise ValueError("it cannot be")
"""


def submit(lab: Any, toolkit: Path, name: str, *specs: Any) -> None:
    import io
    from tarfile import TarInfo
    from tarfile import open as open_tar

    packed = io.BytesIO()
    with open_tar(fileobj=packed, mode="w:gz") as archive:
        info = TarInfo("train.py")
        info.size = len(TRAIN.encode())
        archive.addfile(info, io.BytesIO(TRAIN.encode()))
    lab.bench.world.s3.put("s3://sweeps/source/sourcedir.tar.gz", packed.getvalue())
    lab.bench.images["image"] = toolkit
    fixed = {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://sweeps/source/sourcedir.tar.gz"',
        "sagemaker_container_log_level": "20",
        "sagemaker_region": '"us-east-1"',
        "fixed": "7",
    }
    lab.submit(
        name,
        TRAIN,
        specs,
        wheel=besom_archive(),
        launch=Launch(toolkit=True, program="train.py"),
        request={"HyperParameters": fixed},
        config={"parameters": {"model.lr": {"min": 0.0, "max": 1.0}, "name": {"values": ["a", "b"]}}},
    )


def test_runs_start_by_the_images_own_train(lab: Any, toolkit: Path) -> None:
    one = lab.spec("r1", {"model.lr": 0.25, "name": 'it\'s $(id) "x"'})
    two = lab.spec("r2", {"model.lr": 0.5, "name": "b"})
    submit(lab, toolkit, "job", one, two)
    assert lab.bench.wait("job")["TrainingJobStatus"] == "Completed", lab.bench.log("job")
    log = lab.bench.log("job")
    seen = [line for line in log.splitlines() if line.startswith("argv")]
    for spec, line in zip((one, two), seen, strict=True):
        assert line == f"argv {json.dumps({**spec.params, 'fixed': 7})} config {json.dumps(spec.params)}"
    assert "['fixed', 'model.lr', 'name']" in log
    assert [lab.status(spec).outcome.summary["loss"] for spec in (one, two)] == [0.25, 0.5]
    models = lab.bench.lives["job"].root / "model"
    assert sorted(str(path.relative_to(models)) for path in models.rglob("*.txt")) == ["r1/m.txt", "r2/m.txt"]


def test_a_program_below_the_toolkit_hears_signals_and_has_its_grace(lab: Any, toolkit: Path) -> None:
    spec = lab.spec("r1", {"model.lr": 0.25, "name": "wait"})
    submit(lab, toolkit, "job", spec)
    lab.prints("job", "ready", 60)
    began = time.time()
    lab.stop(spec, StopRequest())
    lab.bench.wait("job")
    printed = lab.bench.log("job").splitlines()
    heard = next(float(line.split()[1]) for line in printed if line.startswith("SIGTERM"))
    assert heard - began < 10
    assert "saved" in printed
    assert lab.status(spec).outcome.state is RunState.STOPPED


def test_the_scripts_own_error_is_the_failure_reason(lab: Any, toolkit: Path) -> None:
    spec = lab.spec("r1", {"model.lr": 0.25, "name": "fail"})
    submit(lab, toolkit, "job", spec)
    assert "ValueError: it cannot be" in lab.bench.wait("job")["FailureReason"]
