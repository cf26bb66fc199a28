"""Agents as jobs of AWS Batch."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from click.testing import CliRunner, Result

from besom.cli import cli
from besom.errors import UsageError
from besom.launch import AgentJob
from besom.records import RunState, Sweep
from besom.testing.agents import Lab
from besom_aws.aws import AwsAwayError, AwsError
from besom_aws.batch import EVALUATE_ON_EXIT, BatchLauncher
from besom_aws.bench import Bench
from besom_aws.bench.life import retries
from besom_aws.request import require_valid

WAITING = "echo $$; while [ ! -e go ]; do sleep 0.05; done"
JOB = AgentJob("abc", "postgresql://me@db/x", ("--count", "3"))
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:besom/store-AbCdEf"
ROLE = "arn:aws:iam::123456789012:role/besom"


def previewed(job: AgentJob = JOB, count: int = 3, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(BatchLauncher(queue="gpu", **settings).preview(job, count))
    return found


def launch(*words: str) -> Result:
    return CliRunner().invoke(cli, ["launch", "batch", *words])


# ---- requests


def test_an_image_gets_a_definition_and_its_agents_are_one_array_job() -> None:
    asked = previewed(image="trainer:1", vcpus="4", memory=8192, gpus=1, tag=["team=vision"], timeout=3600)
    tags = {"besom-sweep": "abc", "team": "vision"}
    resources = [("VCPU", "4"), ("MEMORY", "8192"), ("GPU", "1")]
    assert asked["RegisterJobDefinition"] == {
        "jobDefinitionName": "besom-abc",
        "type": "container",
        "platformCapabilities": ["EC2"],
        "containerProperties": {
            "image": "trainer:1",
            "resourceRequirements": [{"type": kind, "value": value} for kind, value in resources],
        },
        "tags": tags,
    }
    assert asked["SubmitJob"] == {
        "jobName": "besom-abc",
        "jobQueue": "gpu",
        "jobDefinition": "besom-abc",
        "containerOverrides": {
            "command": ["besom", "agent", "abc", "--grace", "20", "--count", "3"],
            "environment": [{"name": "BESOM_STORE", "value": "postgresql://me@db/x"}],
        },
        "retryStrategy": {"attempts": 3, "evaluateOnExit": list(EVALUATE_ON_EXIT)},
        "tags": tags,
        "propagateTags": True,
        "arrayProperties": {"size": 3},
        "timeout": {"attemptDurationSeconds": 3600},
    }


def test_a_definition_that_is_there_is_used_as_it_is() -> None:
    asked = previewed(definition="train:7", memory=4096, env=["TEAM=vision"], own_store=True)
    assert list(asked) == ["SubmitJob"]
    overrides = asked["SubmitJob"]["containerOverrides"]
    assert asked["SubmitJob"]["jobDefinition"] == "train:7"
    assert overrides["environment"] == [{"name": "TEAM", "value": "vision"}]
    assert overrides["resourceRequirements"] == [{"type": "MEMORY", "value": "4096"}]


def test_one_agent_is_a_plain_job_because_an_array_has_two_at_least() -> None:
    assert "arrayProperties" not in previewed(count=1, definition="train")["SubmitJob"]


def test_a_grace_that_was_given_stays() -> None:
    job = AgentJob("abc", JOB.store, ("--grace=5",))
    command = previewed(job, definition="train")["SubmitJob"]["containerOverrides"]["command"]
    assert command == ["besom", "agent", "abc", "--grace=5"]


def test_secrets_are_references_that_aws_fills_in() -> None:
    secrets = [f"BESOM_STORE=secretsmanager:{ARN}#url", "BESOM_TOKEN=ssm:/besom/token"]
    job = AgentJob("abc", "postgresql://me:hunter22@db/x")
    asked = previewed(job, image="trainer:1", secret=secrets, execution_role=ROLE, job_role=ROLE)
    container = asked["RegisterJobDefinition"]["containerProperties"]
    assert container["secrets"] == [
        {"name": "BESOM_STORE", "valueFrom": f"{ARN}:url::"},
        {"name": "BESOM_TOKEN", "valueFrom": "/besom/token"},
    ]
    assert (container["executionRoleArn"], container["jobRoleArn"]) == (ROLE, ROLE)
    assert "hunter22" not in json.dumps(asked)


def test_fargate_jobs_say_so() -> None:
    asked = previewed(image="trainer:1", fargate=True, execution_role=ROLE)["RegisterJobDefinition"]
    assert asked["platformCapabilities"] == ["FARGATE"]
    assert asked["containerProperties"]["networkConfiguration"] == {"assignPublicIp": "ENABLED"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "--definition or --image"),
        ({"image": "a", "definition": "b"}, "not both"),
        ({"definition": "b", "fargate": True}, "belongs into the job definition"),
        ({"image": "a", "secret": ["A=ssm:/a"]}, "need --execution-role"),
        ({"image": "a", "secret": ["A=secretsmanager:name"], "execution_role": ROLE}, "by its ARN only"),
        ({"image": "a", "secret": ["A=env:A"], "execution_role": ROLE}, "AWS cannot read env:A"),
        ({"image": "a", "secret": ["A=hunter 22"], "execution_role": ROLE}, "never the value itself"),
        ({"image": "a", "fargate": True, "execution_role": ROLE, "gpus": 1}, "Fargate has no GPUs"),
        ({"image": "a", "env": ["A"]}, "--env takes NAME=VALUE"),
        ({"image": "a", "env": ["A=1", "A=2"]}, "A is there twice"),
        ({"image": "a", "env": ["DSN=postgresql://me:pw@db/x"]}, "give --secret DSN="),
    ],
)
def test_what_cannot_be_a_job_is_refused_with_what_to_do(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        previewed(**settings)


def test_an_array_has_ten_thousand_jobs_at_most() -> None:
    with pytest.raises(UsageError, match="at most 10000 jobs, not 10001"):
        previewed(count=10_001, definition="train")


def test_a_store_that_other_machines_do_not_reach_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is a file of this machine.*--store postgresql://"):
        previewed(AgentJob("abc", "sqlite:////tmp/besom.db"), definition="train")


def test_an_address_with_a_password_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match="--secret BESOM_STORE=secretsmanager") as refused:
        previewed(AgentJob("abc", "postgresql://me:hunter22@db/x"), definition="train")
    assert "hunter22" not in str(refused.value)


def test_a_request_that_aws_would_not_understand_is_refused_before_it_is_sent() -> None:
    with pytest.raises(UsageError, match='Unknown parameter in input: "jobQueues"'):
        require_valid("batch", "SubmitJob", {"jobName": "a", "jobQueues": "b", "jobDefinition": "c"})
    with pytest.raises(UsageError, match='Missing required parameter in input: "jobQueue"'):
        require_valid("batch", "SubmitJob", {"jobName": "a", "jobDefinition": "c"})


@pytest.mark.parametrize(
    ("code", "status_reason", "again"),
    [
        (0, "Host EC2 (instance i-1) terminated.", True),
        (128 + signal.SIGTERM, "", True),
        (128 + signal.SIGKILL, "", True),
        (4, "", True),
        (1, "", False),
        (2, "", False),
        (3, "", False),
        (1, "Host EC2 (instance i-1) terminated.", True),
    ],
)
def test_a_job_is_tried_again_where_that_helps(code: int, status_reason: str, again: bool) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": EVALUATE_ON_EXIT}
    assert retries(strategy, code, status_reason, 1) is again
    assert retries(strategy, code, status_reason, 2) is False


# ---- jobs


def batch_jobs(lab: Lab, sweep: Sweep) -> list[str]:
    return sorted(agent.job or "" for agent in lab.store.list_agents(sweep.id))


@pytest.mark.slow
def test_an_array_job_runs_a_sweep_and_the_store_knows_its_jobs(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep("true", "[1, 2, 3, 4]")
    words = [sweep.id, "--store", far_lab.store.url, "--queue", bench.add_job_queue(), "--image", "trainer"]
    dry = launch(*words, "--jobs", "3", "--dry-run")
    assert (dry.exit_code, bench.calls["SubmitJob"]) == (0, 0)
    assert json.loads(dry.stdout)["SubmitJob"]["arrayProperties"] == {"size": 3}
    done = launch(*words, "--jobs", "3")
    assert done.exit_code == 0, done.output
    ids = done.stdout.split()
    assert len(ids) == 3
    bench.until(lambda: far_lab.states(sweep) == [RunState.FINISHED] * 4)
    bench.until(lambda: batch_jobs(far_lab, sweep) == [f"batch:{one}" for one in ids])
    assert bench.calls["SubmitJob"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("warn", [True, False], ids=["with a SIGTERM", "at once"])
def test_a_job_that_loses_its_spot_host_goes_on_with_its_run(far_lab: Lab, bench: Bench, warn: bool) -> None:
    sweep = far_lab.shell_sweep(WAITING)
    launcher = BatchLauncher(queue=bench.add_job_queue(), image="trainer")
    (job,) = launcher.launch(AgentJob(sweep.id, far_lab.store.url, ("--lease", "2")), 1)
    bench.until(lambda: any(far_lab.output(run) for run in far_lab.runs(sweep)))
    bench.reclaim(job.job_id, warn=warn)
    bench.until(lambda: [run.attempt for run in far_lab.runs(sweep)] == [2])
    assert launcher.alive([job]) == [job]
    (far_lab.folder / "go").touch()
    bench.until(lambda: far_lab.states(sweep) == [RunState.FINISHED])
    bench.until(lambda: not launcher.alive([job]))
    assert len(far_lab.runs(sweep)) == 1


@pytest.mark.slow
def test_an_agent_that_would_fail_again_is_not_tried_again(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep("true")
    launcher = BatchLauncher(queue=bench.add_job_queue(), image="trainer")
    (job,) = launcher.launch(AgentJob(sweep.id, far_lab.store.url, ("--nonsense",)), 1)
    bench.until(lambda: not launcher.alive([job]))
    assert bench.lives[job.job_id].attempt == 1


@pytest.mark.slow
def test_secrets_reach_the_agents_and_no_request(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep('echo "$TOKEN" > token')
    secrets = bench.client("secretsmanager")
    made = secrets.create_secret(
        Name="besom/store", SecretString=json.dumps({"url": far_lab.store.url, "token": "hunter22"})
    )
    launcher = BatchLauncher(
        queue=bench.add_job_queue(),
        image="trainer",
        secret=[f"{name}=secretsmanager:{made['ARN']}#{key}" for name, key in SECRETS],
        execution_role=ROLE,
    )
    job = AgentJob(sweep.id, "postgresql://me:hunter22@db/x")
    assert "hunter22" not in launcher.preview(job, 1)
    launcher.launch(job, 1)
    bench.until(lambda: far_lab.states(sweep) == [RunState.FINISHED])
    assert (far_lab.folder / "token").read_text() == "hunter22\n"


SECRETS = (("BESOM_STORE", "url"), ("TOKEN", "token"))


@pytest.mark.slow
def test_an_array_is_ended_as_one_and_a_part_of_it_by_its_jobs(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep(WAITING, "[1, 2, 3, 4]")
    launcher = BatchLauncher(queue=bench.add_job_queue(), definition=_definition(bench))
    arrays = [launcher.launch(AgentJob(sweep.id, far_lab.store.url), 2) for _ in range(2)]
    bench.until(lambda: sum(bool(far_lab.output(run)) for run in far_lab.runs(sweep)) == 4)
    launcher.cancel(arrays[0][1:])
    bench.until(lambda: launcher.alive([*arrays[0], *arrays[1]]) == [arrays[0][0], *arrays[1]])
    assert bench.calls["TerminateJob"] == 1
    launcher.cancel(arrays[1])
    assert bench.calls["TerminateJob"] == 2
    bench.until(lambda: not launcher.alive(arrays[1]))
    bench.until(lambda: far_lab.states(sweep).count(RunState.PREEMPTED) == 3)


def _definition(bench: Bench) -> str:
    made = bench.client("batch").register_job_definition(
        jobDefinitionName="train",
        type="container",
        containerProperties={
            "image": "trainer",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        },
    )
    return str(made["jobDefinitionName"])


# ---- when AWS fails


@pytest.mark.slow
def test_throttling_is_waited_out_and_refusals_are_told(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep("true")
    job = AgentJob(sweep.id, far_lab.store.url)
    launcher = BatchLauncher(queue=bench.add_job_queue(), image="trainer")
    bench.faults.refuse["SubmitJob"] = ["TooManyRequestsException"] * 2
    launched = launcher.launch(job, 1)
    bench.faults.refuse["DescribeJobs"] = ["TooManyRequestsException"] * 2
    bench.until(lambda: not launcher.alive(launched))
    with pytest.raises(AwsError, match="Job queue nosuch does not exist"):
        BatchLauncher(queue="nosuch", image="trainer").launch(job, 1)
    bench.faults.refuse["SubmitJob"] = ["ExpiredTokenException"]
    with pytest.raises(AwsError, match="does not accept these credentials"):
        launcher.launch(job, 1)


@pytest.mark.slow
def test_an_aws_that_cannot_be_reached_is_exit_code_4(
    far_lab: Lab, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = far_lab.shell_sweep("true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(AwsAwayError, match="AWS cannot be reached"):
        BatchLauncher(queue="gpu", image="trainer").launch(AgentJob(sweep.id, far_lab.store.url), 1)
    words = [sweep.id, "--store", far_lab.store.url, "--queue", "gpu", "--image", "trainer"]
    assert launch(*words).exit_code == 4
