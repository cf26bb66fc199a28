"""What besom adds to SageMaker: seconds for a run in a live job, and calls of AWS's API for each run.

On the bench, not on AWS. The peer of the first figure is the same program without besom, which only starts
Python and prints: what besom adds is the difference. The second counts the calls of a sweep with 100 jobs at
a time, whose runner is a thread that answers as the real one does, so that 100 fit on one machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, main

PROGRAM = "import besom\nrun = besom.init()\nrun.log({'loss': run.config.x})\n"
REQUEST = {
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    "OutputDataConfig": {"S3OutputPath": "s3://artifacts/out"},
    "StoppingCondition": {"MaxRuntimeInSeconds": 600},
}


@contextmanager
def project() -> Generator[Path]:
    """A folder with a program, and besom's own things in it."""
    with tempfile.TemporaryDirectory(prefix="besom-bench-") as name:
        folder = Path(name)
        (folder / "src").mkdir()
        (folder / "src" / "train.py").write_text(PROGRAM)
        before = os.environ.get("BESOM_DIR")
        os.environ["BESOM_DIR"] = str(folder / ".besom")
        try:
            yield folder
        finally:
            os.environ.pop("BESOM_DIR")
            if before is not None:
                os.environ["BESOM_DIR"] = before


def sweep_of(runs: int) -> dict[str, Any]:
    return {
        "program": "train.py",
        "method": "random",
        "seed": 1,
        "run_cap": runs,
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }


def alone(repeats: int) -> float:
    """Seconds that the same program takes without besom."""
    started = time.perf_counter()
    for _ in range(repeats):
        subprocess.run(
            [sys.executable, "-c", "x = 0.5\nprint({'loss': x})"], check=True, stdout=subprocess.DEVNULL
        )
    return (time.perf_counter() - started) / repeats


def added_per_run(runs: int) -> tuple[float, float]:
    """Seconds for one more run in a live job, and for the program alone."""
    from besom_sagemaker import SageMakerSweep
    from besom_sagemaker.bench import started

    with project() as folder:
        took: dict[int, float] = {}
        with started(folder / "sagemaker") as bench, bench.aws():
            bench.add_bucket("artifacts")
            for number in (1, runs):
                found = SageMakerSweep(
                    REQUEST,
                    sweep_of(number),
                    source_dir=folder / "src",
                    trials_per_job=number,
                    poll_seconds=0.5,
                    requirements=None,
                )
                known = set(bench.lives)
                assert found.run().exit_code == 0
                (job,) = set(bench.lives) - known
                told = bench.describe(job)["SecondaryStatusTransitions"]
                training = next(step for step in told if step["Status"] == "Training")
                took[number] = (training["EndTime"] - training["StartTime"]).total_seconds()
        return (took[runs] - took[1]) / (runs - 1), alone(runs)


def calls_per_run(runs: int, jobs: int) -> tuple[Counter[str], float]:
    """The SageMaker calls of a sweep of `runs` with `jobs` at a time, and the seconds it took."""
    from besom_sagemaker import SageMakerSweep
    from besom_sagemaker.bench import started
    from besom_sagemaker.bench.life import JobLife
    from besom_sagemaker.cloud import Cloud

    def live(self: Any) -> None:
        threading.Event().wait(5.0)
        answer(self.world.s3, dict(self.request))
        self.tell(training_job_status="Completed", secondary_status="Completed")

    was = JobLife.live
    JobLife.live = live  # type: ignore[method-assign]
    try:
        with project() as folder, started(folder / "sagemaker") as bench, bench.aws():
            bench.add_bucket("artifacts")
            found = SageMakerSweep(
                REQUEST, sweep_of(runs), source_dir=folder / "src", max_jobs=jobs, requirements=None
            )
            fast = {"create_training_job": (1000.0, 1000.0), "describe_training_job": (1000.0, 1000.0)}
            found._cloud = Cloud(rates=fast)  # noqa: SLF001 - the bench has no rates, and hours are long
            begun = time.perf_counter()
            assert found.run().exit_code == 0
            return Counter(bench.calls), time.perf_counter() - begun
    finally:
        JobLife.live = was  # type: ignore[method-assign]


def answer(s3: Any, request: dict[str, Any]) -> None:
    """Say of each run of a job that it has finished."""
    from besom.records import Outcome, RunState
    from besom_sagemaker.job import RunStatus, read_document

    channels = {
        one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in request["InputDataConfig"]
    }
    document = read_document(s3.get(channels["besom_job"] + "job.json"))
    for run in document.runs:
        outcome = Outcome(RunState.FINISHED, 0, None, {"loss": 1.0}, 1.0)
        status = RunStatus(run.run_id, run.attempt, "ended", time.time(), outcome=outcome)
        s3.put(run.prefix + "status.json", status.to_json().encode())


def measure(quick: bool) -> list[Figure]:
    """What besom adds to SageMaker, on the bench."""
    added, program = added_per_run(6 if quick else 20)
    jobs, runs = (20, 40) if quick else (100, 200)
    calls, seconds = calls_per_run(runs, jobs)
    polling = calls["ListTrainingJobs"]
    own = sum(calls.values()) - polling
    return [
        Figure("one more run in a live job", added, "s", None, "lower", "all of it, the program included"),
        Figure("the program without besom", program, "s", None, "lower"),
        Figure("added to a run in a live job", added - program, "s", 1.0, "lower"),
        Figure(f"API calls per run, {jobs} jobs at a time", own / runs, "calls", 2.0, "lower"),
        Figure("listings per second", polling / seconds, "calls/s", 0.5, "lower", "one for all jobs"),
    ]


if __name__ == "__main__":
    main("sagemaker", measure)
