"""The commands of docs/aws.md are run as they stand, with AWS played on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from besom.records import RunState
from besom.testing.agents import Lab
from besom.testing.pages import page_blocks, page_script
from besom_aws.bench import Bench
from besom_aws.options import BATCH_OPTIONS, ECS_OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "aws.md"
ACTIONS = {"SendMessageBatch": "sqs:SendMessage"}  # those that are called otherwise than what they need
SERVICES = {"Message": "sqs", "Job": "batch", "Task": "ecs"}


def statements() -> Iterator[dict[str, Any]]:
    for language, code in page_blocks(PAGE):
        if language == "json":
            read: Any = json.loads(code)
            several = cast("list[dict[str, Any]]", read if isinstance(read, list) else [read])
            yield from (one for one in several if "Effect" in one)


def needed(operation: str) -> str:
    service = next(service for word, service in SERVICES.items() if word in operation)
    return ACTIONS.get(operation, f"{service}:{operation}")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_page_does_what_it_says(far_lab: Lab, bench: Bench) -> None:
    store = far_lab.store.url
    secret = bench.client("secretsmanager").create_secret(
        Name="besom/store", SecretString=json.dumps({"url": store})
    )
    bench.client("ssm").put_parameter(Name="/team/hf-token", Value="hf", Type="SecureString")
    bench.client("batch").register_job_definition(
        jobDefinitionName="train",
        type="container",
        containerProperties={
            "image": "trainer",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
        },
    )
    ec2 = bench.client("ec2")
    told = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BESOM_STORE": store,
        "QUEUE": bench.add_queue(),
        "JOB_QUEUE": bench.add_job_queue(),
        "IMAGE": "trainer:1",
        "DEFINITION": "train",
        "EXECUTION_ROLE": "arn:aws:iam::123456789012:role/besom-execution",
        "JOB_ROLE": "arn:aws:iam::123456789012:role/besom-agent",
        "SECRET_ARN": secret["ARN"],
        "CLUSTER": bench.add_cluster(),
        "TASK": bench.add_task_definition(),
        "SUBNET": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "GROUP": ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"],
    }
    done = subprocess.run(
        ["bash", "-c", page_script(PAGE, read_only={"json", "text"})],
        cwd=far_lab.folder,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    sweeps = far_lab.store.list_sweeps()
    assert len(sweeps) == 6
    for sweep in sweeps:
        bench.until(lambda sweep=sweep: far_lab.states(sweep) == [RunState.FINISHED] * 4, 60)  # type: ignore[misc]
    allowed = {action for statement in statements() for action in statement["Action"]}
    assert {needed(operation) for operation in bench.calls} <= allowed


def test_the_policies_allow_no_more_than_is_named() -> None:
    found = list(statements())
    assert len(found) == 12
    assert not [action for statement in found for action in statement["Action"] if "*" in action]
    everywhere = {action for one in found if one["Resource"] == "*" for action in one["Action"]}
    assert everywhere == {
        "batch:DescribeJobs",
        "ecs:DescribeTaskDefinition",
    }  # AWS knows no resource for them


def test_every_option_is_on_the_page() -> None:
    page = PAGE.read_text()
    for option in (*BATCH_OPTIONS, *ECS_OPTIONS):
        assert any(re.search(rf"{name}(?![\w-])", page) for name in option.opts), option.opts
