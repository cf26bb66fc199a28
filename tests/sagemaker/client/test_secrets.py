"""Thirty secrets go through a real sweep whose program does all it can to show them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from besom.store import open_store
from besom_sagemaker.bench import Bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TELLING = """
import base64, json, os, sys, urllib.parse
import besom

values = [os.environ[name] for name in sorted(os.environ) if name.startswith("SECRET_")]
assert len(values) == 30
run = besom.init()
for value in values:
    raw = value.encode()
    for form in (value, repr(value), json.dumps(value), urllib.parse.quote(value), raw.hex()):
        print("shows", form)
        print("complains", base64.b64encode(b"u:" + form.encode()).decode(), file=sys.stderr, flush=True)
    run.log({"loss": 1.0, "note": value, "seen": len(value)})
    run.config.update({"copy": {"of": value}}, allow_val_change=True)
    run.summary["last"] = [value]
if run.config.lr > 0.5:
    raise RuntimeError(f"cannot log in with {values[0]} {values[10]} {values}")
"""


def planted() -> dict[str, str]:
    """Thirty values as keys, passwords, addresses and files look."""
    values: dict[str, str] = {}
    for n in range(10):
        values[f"SECRET_KEY_{n}"] = f"{n}k" + f"{0x9E3779B97F4A7C15 * (n + 1):x}"[:18]
        values[f"SECRET_DSN_{n}"] = f"postgresql://sweeper:p{n}%40Zq{n * 7919 + 1}x@db{n}.example.com/sweeps"
        body = "\n".join(f"MIIE{n}{line}{0x9E3779B97F4A7C15 * (line + n + 3):x}" for line in range(3))
        values[f"SECRET_FILE_{n}"] = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
    return values


def pieces(values: dict[str, str]) -> Iterator[bytes]:
    """What must not be seen: values as they are and in other spellings, lines of files, passwords."""
    for name, value in values.items():
        lines = [line for line in value.splitlines() if "PRIVATE KEY" not in line]
        password = [value.split(":")[2].split("@")[0]] if "DSN" in name else []
        for text in (value, json.dumps(value)[1:-1], value.encode().hex(), *lines, *password):
            yield text.encode()


def besom(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "besom", *words], capture_output=True, text=True, check=False, timeout=200
    )
    return done.returncode, done.stdout + done.stderr


def unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Give an object, and what is in it if it is an archive."""
    yield name, data
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                yield f"{name}:{member.name}", file.read() if file else b""
    elif name.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from ((f"{name}:{inner}", archive.read(inner)) for inner in archive.namelist())


def everything(bench: Bench, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give all that AWS and this machine have of the sweep."""
    for name, life in bench.lives.items():
        yield f"log of {name}", bench.log(name).encode()
        yield f"answer of {name}", json.dumps(bench.describe(name), default=str).encode()
        yield f"request of {name}", json.dumps(life.request).encode()
    s3 = bench.client("s3")
    for one in s3.list_objects_v2(Bucket="artifacts")["Contents"]:
        yield from unpacked(one["Key"], s3.get_object(Bucket="artifacts", Key=one["Key"])["Body"].read())
    for path in (folder / ".besom").rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


def test_none_of_thirty_secrets_of_a_sweep_is_seen_anywhere(
    bench: Bench, folder: Path, request_on: Callable[..., dict[str, Any]]
) -> None:
    values = planted()
    assert len(values) == 30
    bench.client("secretsmanager").create_secret(Name="team/all", SecretString=json.dumps(values))
    references = {name: f"secretsmanager:team/all#{name}" for name in values}
    job = {**request_on(bench), "source_dir": "src", "secrets": references, "max_jobs": 2}
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    (folder / "src" / "train.py").write_text(TELLING)
    told = ("sweep.yaml", "--job", "job.yaml")
    said = {"run": besom("sagemaker", "run", *told, "--count", "3", "--poll", "0.3")}
    store = open_store()
    (sweep,) = store.list_sweeps()
    runs = store.list_runs(sweep.id)
    rows = [row.data for run in runs for row in store.history(run.id)]
    store.close()
    assert {run.summary["seen"] for run in runs} == {len(values["SECRET_KEY_9"])}, "the programs had them"
    assert {row["note"] for row in rows} == {"***"}
    failed = [run for run in runs if run.error]
    assert failed
    said["check"] = besom("sagemaker", "run", *told, "--check")
    said["status"] = besom("sagemaker", "status", *told)
    said["ls"] = besom("ls", sweep.id)
    said["export"] = besom("export", sweep.id, "--format", "json")
    for run in runs:
        said[f"show {run.number}"] = besom("show", run.id)
        said[f"logs {run.number}"] = besom("logs", run.id)
    assert {name: text for name, (code, text) in said.items() if code != 0 and name != "run"} == {}
    assert said["logs 1"][1].count("shows ***") >= 30, "what jobs print is at hand here"
    assert "cannot log in" in said[f"show {failed[0].number}"][1]
    places = dict(everything(bench, folder))
    assert [name for name in places if name.endswith("source.tar.gz:train.py")]
    places |= {f"besom {name}": text.encode() for name, (_, text) in said.items()}
    assert len(places) > 40
    seen = [(place, piece) for piece in pieces(values) for place, data in places.items() if piece in data]
    assert seen == []
    assert not set(values.values()) & set(os.environ.values())
