"""What jobs print is to be read here, by `besom logs`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench
from besom_sagemaker.bench.life import JobLife
from besom_sagemaker.cloud import Cloud
from besom_sagemaker.mirror import Mirror
from besom_sagemaker.transport import LogSender

COUNTS = """
import pathlib, sys, time
import besom

run = besom.init()
note = run.dir / "checkpoints" / "n"
first = int(note.read_text()) if note.exists() else 0
for n in range(first, 6):
    print("line", n, "żółć", flush=True)
    note.write_text(str(n + 1))
    run.log({"loss": 1.0})
    if first == 0 and n == 2 and WAIT:
        print("waiting", flush=True)
        time.sleep(60)
if run.attempt == 1 and FAIL:
    raise RuntimeError("the first time")
"""


def logs(run_id: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "besom", "logs", run_id], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def program(folder: Path, *, wait: bool = False, fail: bool = False) -> None:
    text = COUNTS.replace("WAIT", str(wait)).replace("FAIL", str(fail))
    (folder / "src" / "train.py").write_text(text)


def interrupt_once_waiting(bench: Bench) -> None:
    bench.until(lambda: any("waiting" in bench.log(name) for name in list(bench.lives)))
    bench.interrupt(next(iter(bench.lives)))


@pytest.mark.slow
def test_the_log_of_an_interrupted_job_is_whole(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]]
) -> None:
    program(folder, wait=True)
    sweep = SageMakerSweep(
        request_on(bench), "sweep.yaml", source_dir="src", count=1, poll_seconds=0.2, requirements=None
    )

    other = threading.Thread(target=interrupt_once_waiting, args=(bench,))
    other.start()
    assert sweep.run().exit_code == 0
    other.join()
    (run,) = sweep.runs()
    assert run.state is RunState.FINISHED
    lines = [line for line in logs(run.id) if line.startswith(("line", "waiting"))]
    assert lines == [*(f"line {n} żółć" for n in range(3)), "waiting", *(f"line {n} żółć" for n in (3, 4, 5))]


@pytest.mark.slow
def test_a_run_that_went_on_and_ended_between_two_looks_has_ended(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(folder, wait=True)
    fetch, renew = Mirror.fetch, JobLife._renew
    seen = threading.Event()

    def fetch_and_look_away(self: Mirror, cloud: Cloud) -> None:
        fetch(self, cloud)
        said = self.status.outcome if self.status else None
        if said is not None and said.state is RunState.PREEMPTED:
            seen.set()
            (name,) = bench.lives
            bench.wait(name)

    def renew_once_seen(self: JobLife) -> None:
        assert seen.wait(60)
        renew(self)

    monkeypatch.setattr(Mirror, "fetch", fetch_and_look_away)
    monkeypatch.setattr(JobLife, "_renew", renew_once_seen)
    sweep = SageMakerSweep(
        request_on(bench), "sweep.yaml", source_dir="src", count=1, poll_seconds=0.2, requirements=None
    )
    other = threading.Thread(target=interrupt_once_waiting, args=(bench,))
    other.start()
    assert sweep.run().exit_code == 0
    other.join()
    (run,) = sweep.runs()
    assert (run.state, run.attempt) == (RunState.FINISHED, 1)
    assert [line for line in logs(run.id) if line.startswith("line")] == [f"line {n} żółć" for n in range(6)]


@pytest.mark.slow
def test_the_log_of_a_retried_run_has_both_attempts(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]]
) -> None:
    program(folder, fail=True)
    text = (folder / "sweep.yaml").read_text().replace("run_cap: 8", "run_cap: 8\nmax_attempts: 2")
    (folder / "sweep.yaml").write_text(text)
    sweep = SageMakerSweep(
        request_on(bench), "sweep.yaml", source_dir="src", count=1, poll_seconds=0.2, requirements=None
    )
    assert sweep.run().exit_code == 0
    (run,) = sweep.runs()
    assert (run.state, run.attempt) == (RunState.FINISHED, 2)
    printed = logs(run.id)
    first = [n for n, line in enumerate(printed) if line.startswith("line")]
    assert [printed[n] for n in first] == [f"line {n} żółć" for n in range(6)]
    assert printed[-1] == "RuntimeError: the first time", "the second had nothing left to do"


def test_a_log_without_end_is_sent_as_far_as_it_may_be(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from besom_sagemaker import transport

    monkeypatch.setattr(transport, "LONGEST_PART", 100)
    monkeypatch.setattr(transport, "LONGEST_LOG", 250)
    path = tmp_path / "printed.log"
    path.write_bytes(b"x" * 1000)
    s3, prefix = lab.bench.world.s3, "s3://sweeps/runs/r1/a1/"
    sender = LogSender(s3, prefix, path, sent=0)
    while sender.send():
        pass
    parts = list(s3.names(f"{prefix}console/"))
    assert [int(name.removesuffix(".txt")) for name in parts] == [0, 100, 200]
    whole = b"".join(s3.get(f"{prefix}console/{name}") or b"" for name in parts)
    assert len(whole) == sender.sent
    assert whole.endswith(b"SageMaker's own log only\n")
