from __future__ import annotations

import pytest

from besom.agent.platform import this_job
from besom.testing.agents import Lab


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_ID": "17"}, "slurm:17"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "2"}, "slurm:17_2"),
        ({"AWS_BATCH_JOB_ID": "a1:3"}, "batch:a1:3"),
        ({"ECS_CONTAINER_METADATA_URI_V4": f"http://169.254.170.2/v4/{'0a' * 16}-42"}, f"ecs:{'0a' * 16}"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/0a-11-42"}, None),
        ({"BESOM_JOB": "ray:07", "SLURM_JOB_ID": "17"}, "ray:07"),
    ],
)
def test_an_agent_knows_the_job_it_is_in(environment: dict[str, str], job: str | None) -> None:
    assert this_job(environment) == job


def test_the_store_knows_the_job_of_an_agent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    sweep = lab.shell_sweep("true")
    lab.agent(sweep)
    assert [agent.job for agent in lab.store.list_agents(sweep.id)] == ["slurm:17"]
