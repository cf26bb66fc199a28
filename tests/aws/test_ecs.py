"""Agents as tasks of Amazon ECS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from besom.cli import cli
from besom.errors import UsageError
from besom.launch import AgentJob
from besom.records import RunState
from besom.testing.agents import Lab
from besom_aws.aws import AwsError
from besom_aws.bench import Bench
from besom_aws.ecs import EcsLauncher

JOB = AgentJob("abc", "postgresql://me@db/x", ("--count", "3"))


def previewed(count: int = 1, job: AgentJob = JOB, **settings: Any) -> Any:
    told: dict[str, Any] = {"task_definition": "train:7", "container": "agent", **settings}
    return json.loads(EcsLauncher(**told).preview(job, count))["RunTask"]


def test_a_task_is_an_agent() -> None:
    asked = previewed(
        cluster="research", spot=True, subnet=["subnet-1"], security_group=["sg-1"], public_ip=True,
        cpu="1024", memory=4096, gpus=1, env=["TEAM=vision"], tag=["team=vision"],
    )  # fmt: skip
    assert asked == {
        "cluster": "research",
        "taskDefinition": "train:7",
        "startedBy": "besom-abc",
        "overrides": {
            "containerOverrides": [
                {
                    "name": "agent",
                    "command": ["besom", "agent", "abc", "--grace", "20", "--count", "3"],
                    "environment": [
                        {"name": "BESOM_STORE", "value": "postgresql://me@db/x"},
                        {"name": "TEAM", "value": "vision"},
                    ],
                    "resourceRequirements": [{"type": "GPU", "value": "1"}],
                }
            ],
            "cpu": "1024",
            "memory": "4096",
        },
        "tags": [{"key": "besom-sweep", "value": "abc"}, {"key": "team", "value": "vision"}],
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-1"],
                "securityGroups": ["sg-1"],
                "assignPublicIp": "ENABLED",
            }
        },
        "count": 1,
    }


def test_a_call_starts_ten_tasks_at_most() -> None:
    assert [request["count"] for request in previewed(23)] == [10, 10, 3]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task_definition": None}, "needs --task-definition"),
        ({"spot": True, "launch_type": "EC2"}, "leave --launch-type out"),
        ({"public_ip": True}, "for tasks in a --subnet"),
        ({"job": AgentJob("abc", "sqlite:////tmp/besom.db")}, "a file of this machine"),
        ({"job": AgentJob("abc", "postgresql://me:hunter22@db/x")}, "give --own-store"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_what_to_do(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        previewed(**settings)
    assert "hunter22" not in str(refused.value)


@pytest.mark.slow
def test_tasks_run_a_sweep_and_the_store_knows_them(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep("true", "[1, 2, 3]")
    words = ["launch", "ecs", sweep.id, "--store", far_lab.store.url, "--cluster", bench.add_cluster()]
    words += ["--task-definition", bench.add_task_definition(), "--launch-type", "FARGATE", "--jobs", "2"]
    dry = CliRunner().invoke(cli, [*words, "--dry-run"])
    override = json.loads(dry.stdout)["RunTask"]["overrides"]["containerOverrides"][0]
    assert (override["name"], bench.calls["RunTask"]) == ("agent", 0)
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    arns = done.stdout.split()
    assert len(arns) == 2
    bench.until(lambda: far_lab.states(sweep) == [RunState.FINISHED] * 3)
    tasks = sorted(f"ecs:{arn.rpartition('/')[2].replace('-', '')}" for arn in arns)
    bench.until(lambda: sorted(agent.job or "" for agent in far_lab.store.list_agents(sweep.id)) == tasks)


@pytest.mark.slow
def test_where_there_is_no_room_for_all_none_is_left(far_lab: Lab, bench: Bench) -> None:
    sweep = far_lab.shell_sweep("sleep 60", str(list(range(20))))
    bench.faults.room = 11
    launcher = EcsLauncher(
        cluster=bench.add_cluster(), task_definition=bench.add_task_definition(), launch_type="FARGATE"
    )
    with pytest.raises(AwsError, match=r"place 11 of 12 tasks in cluster research.*RESOURCE:MEMORY.*fewer"):
        launcher.launch(AgentJob(sweep.id, far_lab.store.url), 12)
    assert bench.calls["RunTask"] == 2
    assert bench.calls["StopTask"] == 11
    bench.until(lambda: bench.running_tasks() == 0, 60)


@pytest.mark.slow
def test_a_definition_of_several_containers_wants_the_agents_name(far_lab: Lab, bench: Bench) -> None:
    family = bench.add_task_definition("pair", "agent", "sidecar")
    job = AgentJob("abc", far_lab.store.url)
    told: dict[str, Any] = {"cluster": bench.add_cluster(), "task_definition": family}
    with pytest.raises(UsageError, match="agent, sidecar; say by --container"):
        EcsLauncher(**told).preview(job, 1)
    assert '"sidecar"' in EcsLauncher(**told, container="sidecar").preview(job, 1)


@pytest.mark.slow
def test_the_secrets_of_a_definition_bring_the_store(far_lab: Lab, bench: Bench) -> None:
    bench.client("ssm").put_parameter(Name="/besom/store", Value=far_lab.store.url, Type="SecureString")
    family = bench.add_task_definition(secrets=[{"name": "BESOM_STORE", "valueFrom": "/besom/store"}])
    sweep = far_lab.shell_sweep("true")
    launcher = EcsLauncher(
        cluster=bench.add_cluster(), task_definition=family, launch_type="FARGATE", own_store=True
    )
    launcher.launch(AgentJob(sweep.id, "postgresql://me:hunter22@db/x"), 1)
    bench.until(lambda: far_lab.states(sweep) == [RunState.FINISHED])


@pytest.mark.slow
def test_what_ecs_refuses_is_told_in_a_line(far_lab: Lab, bench: Bench) -> None:
    job = AgentJob("abc", far_lab.store.url)
    with pytest.raises(AwsError, match="looking at the task definition nosuch"):
        EcsLauncher(task_definition="nosuch").launch(job, 1)
    with pytest.raises(AwsError, match="ClusterNotFoundException"):
        EcsLauncher(task_definition=bench.add_task_definition(), cluster="nosuch").launch(job, 1)
