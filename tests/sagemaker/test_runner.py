from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from besom.records import RunState
from besom_sagemaker.inside import boot
from besom_sagemaker.job import EXIT_SETUP, Earlier, JobDocument, Launch, StopRequest
from besom_sagemaker.package import besom_archive

TRAIN = """
import besom, json, os, sys
run = besom.init()
print("argv", sys.argv[1:])
for step in range(3):
    run.log({"loss": 1.0 / (step + 1)})
open(os.environ["SM_MODEL_DIR"] + "/model.txt", "w").write("done")
"""

COUNT_TO_40 = """
import besom, pathlib, signal, sys, time
run = besom.init()
note = run.dir / "checkpoints" / "step.txt"
first = int(run.resume_path.read_text()) if run.resume_path else 0
print(f"from {first} resumed={run.resumed} id={run.id} attempt={run.attempt}", flush=True)

def leave(*_):
    print("SIGTERM at", run.step, flush=True)
    sys.exit(143)

signal.signal(signal.SIGTERM, leave)
for step in range(first, 40):
    run.log({"step": step}, step=step)
    note.write_text(str(step + 1))
    if (first == 0 and step == 20):
        print("waiting", flush=True)
        time.sleep(60)
"""


def test_a_run_reports_by_its_journal_and_ends_as_its_program_does(lab: Any) -> None:
    spec = lab.spec("r1", {"lr": 0.25})
    lab.submit("job-1", TRAIN, (spec,))
    told = lab.bench.wait("job-1")
    assert told["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    status = lab.status(spec)
    assert status.state == "ended"
    assert status.outcome.state is RunState.FINISHED
    assert status.outcome.summary["loss"] == 1 / 3
    assert [row["loss"] for row in lab.logged(spec)] == [1.0, 0.5, 1 / 3]
    assert "argv ['--lr=0.25']" in lab.bench.log("job-1")
    assert list(lab.bench.world.s3.names("s3://sweeps/out/")) == ["job-1/output/model.tar.gz"]


def test_besom_comes_along_in_a_wheel_that_wins_over_the_image(lab: Any) -> None:
    script = "import besom, besom_sagemaker.job\nbesom.init()\nprint('besom is', besom.__file__)\n"
    spec = lab.spec("r1", {"lr": 0.25})
    lab.submit("job-1", script, (spec,), wheel=besom_archive())
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    assert "besom is /opt/ml/besom/site/besom/__init__.py" in lab.bench.log("job-1")


HOSTILE: dict[str, Any] = {
    "model.lr": 0.1,
    "prompt": 'don\'t; say "$(touch /opt/ml/model/pwned)" `id` && echo $HOME',
    "lines": "one\ntwo\r\n\tthree",
    "long": "x" * 3000,
    "nested": {"a": {"b": [1, 2.5, None, True]}, "c": "1e-3"},
    "list": [1, "2", 3.0, [False]],
    "flag": True,
    "off": False,
    "nothing": None,
    "text_number": "1e-3",
    "whole_float": 1.0,
    "big": 2**60,
    "unicode": "žluťoučký 🐎",
    "dashes": "--lr=5",
    "empty": "",
}

SHOW = """
import besom, json, os, sys
run = besom.init()
out = {"config": run.config.as_dict(), "hps": json.loads(os.environ["SM_HPS"]), "argv": sys.argv[1:]}
out["file"] = json.load(open(os.environ["BESOM_PARAMS_FILE"]))
json.dump(out, open("/opt/ml/output/data/seen.json", "w"))
"""


def test_hostile_parameters_arrive_with_their_types(lab: Any) -> None:
    spec = lab.spec("r1", HOSTILE)
    config = {"parameters": {name: {"value": value} for name, value in HOSTILE.items()}}
    lab.submit("job-1", SHOW, (spec,), config=config)
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    root = lab.bench.lives["job-1"].root
    seen = json.loads((root / "output" / "data" / "seen.json").read_text())
    for place in ("config", "hps", "file"):
        assert seen[place] == HOSTILE
        assert {name: type(value) for name, value in seen[place].items()} == {
            name: type(value) for name, value in HOSTILE.items()
        }
    assert f"--long={'x' * 3000}" in seen["argv"]
    assert f"--prompt={HOSTILE['prompt']}" in seen["argv"]
    assert not (root / "model" / "pwned").exists()


def test_a_script_finds_ordinary_script_mode(lab: Any) -> None:
    script = """
import json, os
names = ["SM_MODEL_DIR", "SM_CHANNELS", "SM_CHANNEL_TRAIN", "SM_HP_LR", "SM_HPS", "SM_CURRENT_HOST",
         "SM_HOSTS", "SM_OUTPUT_DATA_DIR", "SM_NUM_GPUS", "SM_USER_ENTRY_POINT", "SM_MODULE_DIR"]
print(json.dumps({name: os.environ[name] for name in names}))
print("cwd", os.getcwd(), os.listdir("."), open(os.environ["SM_CHANNEL_TRAIN"] + "/data.csv").read())
env = json.loads(os.environ["SM_TRAINING_ENV"])
assert env["hyperparameters"] == {"lr": 0.5} and env["model_dir"] == "/opt/ml/model"
"""
    lab.bench.world.s3.put("s3://sweeps/data/data.csv", b"1,2,3")
    channels = [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://sweeps/data/"}},
        }
    ]
    lab.submit("job-1", script, (lab.spec("r1", {"lr": 0.5}),), channels=channels)
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    log = lab.bench.log("job-1")
    found = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    assert found == {
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_CHANNELS": '["train"]',
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_HP_LR": "0.5",
        "SM_HPS": '{"lr": 0.5}',
        "SM_CURRENT_HOST": "algo-1",
        "SM_HOSTS": '["algo-1"]',
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_NUM_GPUS": "0",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_MODULE_DIR": "/opt/ml/code",
    }
    assert "cwd /opt/ml/code ['train.py'] 1,2,3" in log


def test_a_spot_run_goes_on_at_the_step_where_it_was_interrupted(lab: Any) -> None:
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", COUNT_TO_40, (spec,))
    lab.prints("job-1", "waiting")
    lab.bench.interrupt("job-1")
    told = lab.bench.wait("job-1")
    log = lab.bench.log("job-1")
    assert told["TrainingJobStatus"] == "Completed", log
    words = [step["Status"] for step in told["SecondaryStatusTransitions"]]
    once = ["Starting", "Downloading", "Training"]
    assert words == [*once, "Interrupted", *once, "Uploading", "Completed"]
    assert "SIGTERM at 20" in log
    assert "from 21 resumed=True id=r1 attempt=1" in log
    assert [row["step"] for row in lab.logged(spec)] == list(range(40))
    assert lab.status(spec).restarts == 1
    assert lab.status(spec).outcome.state is RunState.FINISHED


LEAVES_WITH_0 = COUNT_TO_40.replace("sys.exit(143)", "run.finish(); sys.exit(0)")
FAILS_THEN = LEAVES_WITH_0.replace("for step in", "assert first == 0, 'broken now'\nfor step in", 1)


@pytest.mark.parametrize(
    ("script", "becomes"), [(LEAVES_WITH_0, RunState.FINISHED), (FAILS_THEN, RunState.FAILED)]
)
def test_a_program_that_leaves_as_if_it_were_done_when_interrupted_goes_on(
    lab: Any, script: str, becomes: RunState
) -> None:
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", script, (spec,))
    lab.prints("job-1", "waiting")
    lab.bench.interrupt("job-1")
    lab.bench.wait("job-1")
    log = lab.bench.log("job-1")
    assert "from 21 resumed=True" in log
    assert lab.status(spec).outcome.state is becomes, log
    if becomes is RunState.FINISHED:
        assert [row["step"] for row in lab.logged(spec)] == list(range(40))


def test_a_spot_run_killed_without_warning_loses_nothing_that_was_sent(lab: Any) -> None:
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", COUNT_TO_40, (spec,))
    lab.prints("job-1", "waiting")
    kept = lab.layout.checkpoints("r1") + "step.txt"
    lab.bench.until(lambda: lab.status(spec) and lab.bench.world.s3.get(kept) == b"21", what="job-1")
    lab.bench.until(lambda: len(lab.logged(spec)) == 21, what="job-1")
    lab.bench.interrupt("job-1", warn=False)
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    assert [row["step"] for row in lab.logged(spec)] == list(range(40))


def test_the_next_attempt_in_another_job_goes_on_from_the_checkpoint(lab: Any) -> None:
    first = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", COUNT_TO_40, (first,))
    lab.prints("job-1", "waiting")
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job-1")
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Stopped"
    assert lab.status(first).outcome.state is RunState.PREEMPTED
    earlier = (Earlier(1, "preempted", first.prefix),)
    second = lab.spec("r1", {"lr": 0.5}, attempt=2, earlier=earlier)
    lab.submit("job-2", COUNT_TO_40, (second,))
    assert lab.bench.wait("job-2")["TrainingJobStatus"] == "Completed", lab.bench.log("job-2")
    assert "from 21 resumed=True id=r1 attempt=2" in lab.bench.log("job-2")
    assert [row["step"] for row in lab.logged(second)] == list(range(21, 40))
    assert lab.status(second).outcome.summary["step"] == 39


SLOW = """
import signal, sys, time
def leave(*_):
    print(f"SIGTERM {time.time():.3f}", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(100)
"""

POLLS = """
import besom, time
run = besom.init()
assert not run.should_stop
print("ready", flush=True)
while not run.should_stop:
    time.sleep(0.02)
print(f"told {time.time():.3f}", flush=True)
"""


def seconds_until_told(lab: Any, name: str, word: str, began: float) -> float:
    log = lab.bench.log(name)
    return float(next(line for line in log.splitlines() if line.startswith(word)).split()[1]) - began


def quickest(measure: Callable[[int], float]) -> float:
    """The best of three, as far as they are needed: other tests may have the machine for a while."""
    took = [measure(0)]
    for number in (1, 2):
        if took[-1] >= 1.0:
            took.append(measure(number))
    return min(took)


def test_stop_training_job_reaches_the_script_within_a_second(lab: Any) -> None:
    def measure(number: int) -> float:
        name, spec = f"job-{number}", lab.spec(f"r{number}", {"lr": 0.5})
        lab.submit(name, SLOW, (spec,))
        lab.prints(name, "ready")
        began = time.time()
        lab.bench.client("sagemaker").stop_training_job(TrainingJobName=name)
        assert lab.bench.wait(name)["TrainingJobStatus"] == "Stopped"
        assert lab.status(spec).outcome.state is RunState.PREEMPTED
        return seconds_until_told(lab, name, "SIGTERM", began)

    assert quickest(measure) < 1.0


@pytest.mark.parametrize(("script", "word"), [(SLOW, "SIGTERM"), (POLLS, "told")])
def test_a_stop_of_one_run_reaches_it_within_a_second(lab: Any, script: str, word: str) -> None:
    def measure(number: int) -> float:
        name, spec = f"job-{number}", lab.spec(f"r{number}", {"lr": 0.5})
        lab.submit(name, script, (spec,))
        lab.prints(name, "ready")
        began = time.time()
        lab.stop(spec, StopRequest("stop", "hyperband: worse than half"))
        assert lab.bench.wait(name)["TrainingJobStatus"] == "Completed"
        assert lab.status(spec).outcome.state is RunState.STOPPED
        assert lab.status(spec).stop == "stop"
        return seconds_until_told(lab, name, word, began)

    assert quickest(measure) < 1.0


def test_a_stopped_job_whose_run_was_to_stop_is_no_interruption(lab: Any) -> None:
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", SLOW, (spec,))
    lab.prints("job-1", "ready")
    lab.stop(spec, StopRequest("kill"))
    lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job-1")
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Stopped"
    assert lab.status(spec).outcome.state is RunState.KILLED


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(lab: Any) -> None:
    script = (
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(100)"
    )
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", script, (spec,), grace=0.5)
    lab.prints("job-1", "ready")
    lab.stop(spec, StopRequest())
    began = time.monotonic()
    lab.bench.wait("job-1")
    assert time.monotonic() - began < 5
    assert lab.status(spec).outcome.state is RunState.STOPPED
    assert lab.status(spec).outcome.exit_code == 137


def test_a_traceback_becomes_the_failure_reason(lab: Any) -> None:
    script = (
        "import besom\nrun = besom.init()\nprint('x' * 5000)\nraise ValueError(f'{run.config.lr} is bad')\n"
    )
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", script, (spec,))
    told = lab.bench.wait("job-1")
    assert told["TrainingJobStatus"] == "Failed"
    reason = told["FailureReason"]
    assert "ValueError: 0.5 is bad" in reason
    assert 'train.py", line 4' in reason
    assert reason.endswith(", exit code: 1")
    assert len(reason) <= 1024
    assert lab.status(spec).outcome.state is RunState.FAILED
    assert "ValueError: 0.5 is bad" in lab.status(spec).outcome.error


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"launch": Launch(source="channel:besom/nothing.tar.gz")}, "the job's code is not there"),
        ({"launch": Launch(program="other.py")}, "other.py"),
        ({"secrets": {"KEY": "ssm:/not/there"}}, "secret KEY"),
    ],
)
def test_what_is_missing_is_told_in_the_failure_reason(lab: Any, document: dict[str, Any], said: str) -> None:
    lab.submit("job-1", TRAIN, (lab.spec("r1", {"lr": 0.5}),), **document)
    told = lab.bench.wait("job-1")
    assert told["TrainingJobStatus"] == "Failed"
    assert said in told["FailureReason"]


def test_a_document_of_another_version_is_refused(lab: Any) -> None:
    lab.submit("job-1", TRAIN, (lab.spec("r1", {"lr": 0.5}),), version=99)
    told = lab.bench.wait("job-1")
    assert "version 99" in told["FailureReason"]
    assert told["FailureReason"].endswith(f"exit code: {EXIT_SETUP}")


def test_several_runs_of_a_job_follow_one_another_within_a_second(lab: Any) -> None:
    script = """
import besom, os, sys, time
print(f"begin {time.time():.3f}", os.environ["SM_MODEL_DIR"], flush=True)
run = besom.init()
run.log({"loss": run.config.lr})
(run.dir / "checkpoints" / "last.txt").write_text(run.id)
open("/opt/ml/checkpoints/plain.txt", "w").write(run.id)
if run.config.lr == 0.2:
    raise RuntimeError("this one fails")
run.finish()
print(f"end {time.time():.3f}", flush=True)
"""
    specs = tuple(lab.spec(f"r{number}", {"lr": number / 10}) for number in (1, 2, 3, 4))
    lab.submit("job-1", script, specs)
    told = lab.bench.wait("job-1")
    log = lab.bench.log("job-1")
    assert told["TrainingJobStatus"] == "Failed", log
    assert "run r2: RuntimeError: this one fails" in told["FailureReason"]
    assert [lab.status(spec).outcome.state.value for spec in specs] == [
        "finished",
        "failed",
        "finished",
        "finished",
    ]
    assert [lab.account(spec).summarizer.summary["loss"] for spec in specs] == [0.1, 0.2, 0.3, 0.4]
    lines = [line.split() for line in log.splitlines() if line.startswith(("begin", "end"))]
    assert [words[2] for words in lines if words[0] == "begin"] == [
        f"/opt/ml/model/r{n}" for n in (1, 2, 3, 4)
    ]
    # From an end to the next begin; the second run has no end.
    between = [float(then[1]) - float(now[1]) for now, then in pairwise(lines) if now[0] == "end"]
    assert len(between) == 2
    assert min(between) < 1.0
    kept = list(lab.bench.world.s3.names(lab.layout.checkpoints("job-1")))
    assert kept == [f"r{number}/{name}.txt" for number in (1, 2, 3, 4) for name in ("last", "plain")]


def test_an_interrupted_job_of_several_runs_does_not_repeat_those_that_ended(lab: Any) -> None:
    script = "import besom\nprint('start', besom.init().id, flush=True)\n" + COUNT_TO_40.replace(
        "first == 0 and step == 20", "first == 0 and step == 20 and run.id == 'r2'"
    )
    specs = tuple(lab.spec(f"r{number}", {"lr": 0.5}) for number in (1, 2, 3))
    lab.submit("job-1", script, specs)
    lab.prints("job-1", "waiting")
    lab.bench.interrupt("job-1")
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    started = [line for line in lab.bench.log("job-1").splitlines() if line.startswith("start")]
    assert started == ["start r1", "start r2", "start r2", "start r3"]
    for spec in specs:
        assert [row["step"] for row in lab.logged(spec)] == list(range(40))


def test_secrets_are_in_the_runs_environment_and_nowhere_else(lab: Any) -> None:
    secret = 's3cr3t-Zx9-"quoted"-value'
    lab.bench.client("secretsmanager").create_secret(
        Name="team/wandb", SecretString=json.dumps({"key": secret})
    )
    lab.bench.client("ssm").put_parameter(Name="/team/token", Value="token-4711-8086", Type="SecureString")
    script = """
import besom, os, sys
run = besom.init()
key, token = os.environ["WANDB_API_KEY"], os.environ["TOKEN"]
assert len(key) == 25, len(key)
print("the key is", key, "and", repr(token))
run.log({"note": key, "loss": 0.5})
run.config.update({"token": token})
run.summary["key"] = key
raise RuntimeError(f"cannot log in with {token} {key}")
"""
    references = {"WANDB_API_KEY": "secretsmanager:team/wandb#key", "TOKEN": "ssm:/team/token"}
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", script, (spec,), secrets=references)
    told = lab.bench.wait("job-1")
    assert "cannot log in with" in told["FailureReason"]
    s3 = lab.bench.world.s3
    everything = [lab.bench.log("job-1").encode(), json.dumps(told, default=str).encode()]
    everything += [s3.get(f"s3://sweeps/{name}") or b"" for name in s3.names("s3://sweeps/")]
    for body in everything:
        for value in (secret, json.dumps(secret)[1:-1], "token-4711-8086"):
            assert value.encode() not in body
    assert lab.logged(spec) == [{"note": "***", "loss": 0.5}]


def test_requirements_are_installed_beside_what_the_image_has(lab: Any, tmp_path: Path) -> None:
    files = {"requirements.txt": b"./wheels/tiny-1.0-py3-none-any.whl\n"}
    files["wheels/tiny-1.0-py3-none-any.whl"] = wheel("tiny", "1.0", "VALUE = 42\n")
    script = "import tiny\nprint('tiny', tiny.VALUE, tiny.__file__)\n"
    lab.submit("job-1", script, (lab.spec("r1", {"lr": 0.5}),), files=files, requirements="requirements.txt")
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    assert "tiny 42" in lab.bench.log("job-1")


def test_a_job_that_is_stopped_while_it_installs_ends_at_once(lab: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        port = silent.getsockname()[1]
        files = {"requirements.txt": f"http://127.0.0.1:{port}/tiny-1.0-py3-none-any.whl\n".encode()}
        spec = lab.spec("r1", {"lr": 0.5})
        lab.submit("job-1", TRAIN, (spec,), files=files, requirements="requirements.txt")
        silent.settimeout(30)
        with silent.accept()[0]:
            lab.bench.client("sagemaker").stop_training_job(TrainingJobName="job-1")
            began = time.monotonic()
            assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Stopped"
            assert time.monotonic() - began < 5
    assert lab.status(spec) is None


def test_requirements_that_would_replace_the_images_torch_are_refused(lab: Any) -> None:
    files = {"requirements.txt": b"./wheels/greedy-1.0-py3-none-any.whl\n"}
    files["wheels/greedy-1.0-py3-none-any.whl"] = wheel("greedy", "1.0", "", requires="numpy==0.0.1")
    lab.submit("job-1", TRAIN, (lab.spec("r1", {"lr": 0.5}),), files=files, requirements="requirements.txt")
    told = lab.bench.wait("job-1")
    assert told["TrainingJobStatus"] == "Failed"
    assert "pip could not install requirements.txt beside what the image brings" in told["FailureReason"]


def test_in_store_mode_the_job_is_an_agent_of_the_sweep(lab: Any, tmp_path: Path) -> None:
    from besom.store import open_store
    from besom.sweep import create_sweep
    from besom.sweepfile import from_mapping

    url = f"sqlite:///{tmp_path / 'besom.db'}"
    config = {
        "method": "grid",
        "program": "train.py",
        "metric": {"name": "loss"},
        "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}},
    }
    store = open_store(url)
    sweep = create_sweep(store, from_mapping(config))
    lab.bench.client("ssm").put_parameter(Name="/team/store", Value=url, Type="SecureString")
    lab.layout = type(lab.layout)(f"s3://sweeps/besom/{sweep.id}")
    lab.submit("job-1", TRAIN, (), store="ssm:/team/store", count=2, sweep_id=sweep.id)
    assert lab.bench.wait("job-1")["TrainingJobStatus"] == "Completed", lab.bench.log("job-1")
    runs = store.list_runs(sweep.id)
    assert [(run.state, run.value) for run in runs] == [(RunState.FINISHED, 1 / 3)] * 2
    store.close()


def wheel(name: str, version: str, code: str, *, requires: str | None = None) -> bytes:
    import io
    import zipfile

    packed = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


def test_an_instance_that_is_not_the_first_runs_the_program_and_reports_nothing(
    lab: Any, tmp_path: Path
) -> None:
    spec = lab.spec("r1", {"lr": 0.5})
    base = tmp_path / "ml"
    channel, config = base / "input" / "data", base / "input" / "config"
    for folder in (channel / "besom", channel / "besom_job", config):
        folder.mkdir(parents=True)
    hosts = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
    (config / "resourceconfig.json").write_text(json.dumps(hosts))
    code = base / "own"
    code.mkdir()
    (code / "train.py").write_text(TRAIN + "print('host', os.environ['SM_CURRENT_HOST'])\n")
    sweep = {"method": "random", "program": "train.py", "parameters": {"lr": {"min": 0.0, "max": 1.0}}}
    document = JobDocument("s1", "job", sweep, Launch(source=None, folder=str(code)), (spec,))
    (channel / "besom_job" / "job.json").write_text(document.to_json())
    ran = subprocess.run(
        [sys.executable, boot.__file__],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "host algo-2" in ran.stdout
    assert lab.status(spec) is None
    assert not list(lab.bench.world.s3.names(spec.prefix))
