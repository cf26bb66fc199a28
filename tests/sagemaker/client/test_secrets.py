from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from besom_sagemaker import SageMakerSweep
from besom_sagemaker.bench import Bench

TELLING = """
import base64, os, sys
import besom

run = besom.init()
token = os.environ["MY_TOKEN"]
print("the token is", token, flush=True)
print(base64.b64encode(token.encode()).decode(), file=sys.stderr, flush=True)
run.log({"loss": 1.0, "note": token, "seen": len(token)})
raise RuntimeError(f"cannot log in with {token}")
"""


@pytest.mark.slow
def test_a_secret_reaches_the_program_and_nothing_else(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]]
) -> None:
    planted = "planted-0815-Zx9-planted"
    bench.client("secretsmanager").create_secret(Name="team/x", SecretString=f'{{"token": "{planted}"}}')
    (folder / "src" / "train.py").write_text(TELLING)
    sweep = SageMakerSweep(
        request_on(bench),
        "sweep.yaml",
        source_dir="src",
        count=1,
        poll_seconds=0.2,
        secrets={"MY_TOKEN": "secretsmanager:team/x#token"},
    )
    sweep.run()
    (run,) = sweep.runs()
    assert run.summary["seen"] == len(planted), "the program had it"
    said = subprocess.run(
        [sys.executable, "-m", "besom", "show", run.id], capture_output=True, text=True, check=True
    )
    name = next(iter(bench.lives))
    places = {
        "log": bench.log(name).encode(),
        "reason": str(bench.describe(name)).encode(),
        "run": repr(run).encode(),
        "command": said.stdout.encode() + said.stderr.encode(),
    }
    for path in (folder / ".besom").rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()
    s3 = bench.client("s3")
    for one in s3.list_objects_v2(Bucket="artifacts")["Contents"]:
        places[one["Key"]] = s3.get_object(Bucket="artifacts", Key=one["Key"])["Body"].read()
    assert len(places) > 8
    assert [place for place, data in places.items() if planted.encode() in data] == []
    assert planted not in os.environ.values()
