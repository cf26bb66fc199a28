"""What a job of Ray is told, without a cluster."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from besom.errors import UsageError
from besom.launch import AgentJob, create_launcher
from besom_ray.cluster import find_address
from besom_ray.inside import kill_programs
from besom_ray.launcher import RayLauncher
from besom_ray.request import MARGIN, parse_size

STORE = "http://store:8765"
pytestmark = pytest.mark.usefixtures("outside")


def shown(*arguments: str, store: str = STORE, **settings: Any) -> dict[str, Any]:
    told = json.loads(create_launcher("ray", **settings).preview(AgentJob("abc", store, arguments), 1))
    request: dict[str, Any] = told["submit_job"]
    return request


def variables(*arguments: str, **settings: Any) -> dict[str, str]:
    found: dict[str, str] = shown(*arguments, **settings)["runtime_env"]["env_vars"]
    return found


def test_a_job_is_an_agent_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = shown("--workers", "2")
    agent = [sys.executable, "-m", "besom_ray.inside", "agent", "abc", "--workers", "2"]
    assert shlex.split(request["entrypoint"]) == ["cd", str(tmp_path), "&&", "exec", *agent]
    assert request["entrypoint_num_cpus"] == 1
    assert "entrypoint_num_gpus" not in request
    assert request["runtime_env"]["env_vars"] == {
        "BESOM_DIR": str(tmp_path / ".besom"),
        "BESOM_JOB": f"ray:{request['submission_id']}",
        "BESOM_STORE": STORE,
        "RAY_JOB_STOP_WAIT_TIME_S": str(60 + MARGIN),
    }
    assert request["submission_id"].startswith("besom-abc-")


@pytest.mark.parametrize(
    ("words", "seconds"),
    [((), 60), (("--grace", "5"), 10), (("--grace=2.2",), 5), (("--grace", "5", "--grace", "7"), 14)],
)
def test_ray_waits_for_as_long_as_an_agent_may_take_to_leave(words: tuple[str, ...], seconds: int) -> None:
    assert int(variables(*words)["RAY_JOB_STOP_WAIT_TIME_S"]) == seconds + MARGIN


def test_a_copied_folder_brings_neither_this_one_s_path_nor_its_runs(tmp_path: Path) -> None:
    request = shown(working_dir=str(tmp_path))
    assert request["entrypoint"] == "exec python -m besom_ray.inside agent abc"
    assert request["runtime_env"]["working_dir"] == str(tmp_path)
    assert request["runtime_env"]["excludes"] == ["/.besom/"]
    assert "BESOM_DIR" not in request["runtime_env"]["env_vars"]


def test_a_runtime_environment_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("pip: [besom]\nexcludes: [data]\nenv_vars: {A: '1', B: '2'}\n")
    found = shown(runtime_env=str(file), working_dir=str(tmp_path), env=["B=3"])["runtime_env"]
    assert found["pip"] == ["besom"]
    assert found["excludes"] == ["data", "/.besom/"]
    assert (found["env_vars"]["A"], found["env_vars"]["B"]) == ("1", "3")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[", "cannot be read"), ("7", "is no mapping"), ("env_vars: {A: 1}", "put numbers into quotes")],
)
def test_a_file_that_is_no_runtime_environment_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        create_launcher("ray", runtime_env=str(file))
    with pytest.raises(UsageError, match="nowhere cannot be read"):
        create_launcher("ray", runtime_env="nowhere")


def test_nothing_that_everybody_sees_holds_a_password() -> None:
    address = "postgresql://me:hunter2@db/sweeps"
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, ()),
        ({"env": ["OTHER=" + address]}, ()),
        ({"env": ["PGPASSWORD=hunter2"]}, ()),
        ({"env": ["BESOM_TOKEN=hunter2"]}, ()),
        ({"own_store": True}, ("--store", address)),
        ({"own_store": True}, ("--store=" + address,)),
    ]
    for settings, words in cases:
        with pytest.raises(UsageError) as caught:
            shown(*words, store=address, **settings)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(
        UsageError, match=r"set BESOM_STORE where the nodes' `ray start` is run .*--own-store"
    ):
        shown(store=address)
    assert "BESOM_STORE" not in variables(store=address, own_store=True)
    proxied = create_launcher("ray", address="https://me:hunter2@head")
    assert "hunter2" not in proxied.preview(AgentJob("abc", STORE), 1)


def test_a_token_travels_by_the_path_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_TOKEN", "besom_secret")
    monkeypatch.setenv("BESOM_TOKEN_FILE", str(tmp_path / "token"))
    assert variables()["BESOM_TOKEN_FILE"] == str(tmp_path / "token")
    assert "besom_secret" not in str(shown())
    assert "BESOM_TOKEN_FILE" not in variables(working_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"resources": ["tpu"]}, "--resources takes NAME=VALUE"),
        ({"resources": ["tpu=many"]}, "--resources takes NAME=N: .*'many'"),
        ({"env": ["A=1", "A=2"]}, "A is there twice"),
        ({"memory": "lots"}, "--memory lots: write a number"),
        ({"working_dir": "/nowhere"}, "there is no such folder"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create_launcher("ray", **settings)


@pytest.mark.parametrize(
    ("words", "size"), [("16G", 16 * 2**30), ("1.5 MiB", 3 * 2**19), ("1000", 1000), (7, 7), (None, None)]
)
def test_memory_is_written_as_people_do(words: str | int | None, size: int | None) -> None:
    assert parse_size(words) == size


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        (None, {}, "http://127.0.0.1:8265"),
        (None, {"RAY_ADDRESS": "http://a:1/"}, "http://a:1"),
        (None, {"RAY_ADDRESS": "ray://a:1", "RAY_API_SERVER_ADDRESS": "https://b"}, "https://b"),
        ("http://c", {"RAY_ADDRESS": "ray://a:1"}, "http://c"),
    ],
)
def test_the_dashboard_is_where_it_is_said_to_be(
    given: str | None, environment: dict[str, str], found: str
) -> None:
    assert find_address(given, environment) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ray://head:10001", "--address ray://head:10001 is not .* --address http://head:8265"),
        ("10.0.0.1:6379", "http://10.0.0.1:8265"),
        ("auto", "http://127.0.0.1:8265"),
        ("http://[::1", "is no address"),
        ("http://host:port", "is no address"),
        ("http://me:hunter2@[::1", "--address is no address"),
        ("http://", "http://127.0.0.1:8265"),
    ],
)
def test_an_address_of_something_else_is_refused_with_the_dashboard_s(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        RayLauncher(address=given)
    assert "hunter2" not in str(caught.value)


def test_headers_for_a_proxy_come_from_ray_s_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", "[]")
    with pytest.raises(UsageError, match="RAY_JOB_HEADERS is no JSON object"):
        RayLauncher(address="http://127.0.0.1:9").alive([])


GUARDED = """
import os, subprocess, sys
from besom_ray.inside import guard

guard(os.environ["BESOM_JOB"])
keep = subprocess.Popen(["sleep", "1000"], start_new_session=True, env={**os.environ, "BESOM_RUN_ID": "r1"})
other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(keep.pid, other.pid, flush=True)
if sys.argv[1] == "wait":
    keep.wait()
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_the_programs_of_an_agent_end_with_it(end: signal.Signals | None) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", GUARDED, "wait" if end else "leave"],
        env={**os.environ, "BESOM_JOB": f"ray:{os.getpid()}-{end}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdout is not None
    program, other = map(int, agent.stdout.readline().split())
    try:
        if end is not None:
            assert not gone(program)
            agent.send_signal(end)
        agent.wait(10)
        deadline = time.monotonic() + 20
        while not gone(program):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not gone(other)  # no run's
    finally:
        os.kill(other, signal.SIGKILL)
        agent.stdout.close()


def test_programs_of_other_jobs_are_left_alone() -> None:
    mine, theirs = (
        subprocess.Popen(
            ["sleep", "1000"],
            env={**os.environ, "BESOM_JOB": f"ray:{os.getpid()}-{name}", "BESOM_RUN_ID": "r1"},
        )
        for name in ("mine", "theirs")
    )
    try:
        kill_programs(f"ray:{os.getpid()}-mine")
        assert mine.wait(10) == -signal.SIGKILL
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()
