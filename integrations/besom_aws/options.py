"""What `besom launch batch` and `besom launch ecs` can be told."""

from __future__ import annotations

import click


def _resources(kind: str) -> tuple[click.Option, ...]:
    return (
        click.Option(
            ["--gpus"], type=click.IntRange(min=1), metavar="N", help=f"GPUs of a {kind}, which it needs."
        ),
        click.Option(
            ["--env"],
            multiple=True,
            metavar="NAME=VALUE",
            help="A variable of the agents, shown to whoever may look; may be repeated.",
        ),
        click.Option(
            ["--tag"],
            multiple=True,
            metavar="KEY=VALUE",
            help="A tag, beside the one with the sweep's id; may be repeated.",
        ),
        click.Option(
            ["--own-store"],
            is_flag=True,
            help="The definition brings BESOM_STORE, as a secret for example; pass no address.",
        ),
        click.Option(["--region"], metavar="NAME", help="The AWS region.  [default: the environment's]"),
    )


BATCH_OPTIONS = (
    click.Option(["--queue"], metavar="NAME", help="The job queue, by name or ARN."),
    click.Option(["--definition"], metavar="NAME", help="The job definition to use, by name or ARN."),
    click.Option(["--image"], metavar="IMAGE", help="The container image to register a job definition for."),
    click.Option(["--vcpus"], metavar="N", help="vCPUs of a job.  [default: 1 with --image]"),
    click.Option(
        ["--memory"],
        type=click.IntRange(min=4),
        metavar="MIB",
        help="Memory of a job.  [default: 2048 with --image]",
    ),
    click.Option(
        ["--attempts"],
        type=click.IntRange(1, 10),
        default=3,
        show_default=True,
        metavar="N",
        help="How often a job is started in all, where it lost its host or its store.",
    ),
    click.Option(
        ["--timeout"],
        type=click.IntRange(min=60),
        metavar="SECONDS",
        help="How long an attempt may take; AWS ends it then.",
    ),
    click.Option(
        ["--secret"],
        multiple=True,
        metavar="NAME=REFERENCE",
        help="(--image) A variable that AWS fills: secretsmanager:ARN#KEY or ssm:/NAME; may be repeated.",
    ),
    click.Option(["--job-role"], metavar="ARN", help="(--image) The role of the agents."),
    click.Option(
        ["--execution-role"],
        metavar="ARN",
        help="(--image) The role that reads secrets and pulls the image; --secret and --fargate need it.",
    ),
    click.Option(["--fargate"], is_flag=True, help="(--image) For a queue of Fargate."),
    *_resources("job"),
)

ECS_OPTIONS = (
    click.Option(["--cluster"], metavar="NAME", help="The cluster.  [default: default]"),
    click.Option(["--task-definition"], metavar="NAME", help="The task definition: family, revision or ARN."),
    click.Option(
        ["--container"],
        metavar="NAME",
        help="The definition's container to be the agent.  [default: its only one, which AWS is asked for]",
    ),
    click.Option(
        ["--launch-type"],
        type=click.Choice(["EC2", "FARGATE", "EXTERNAL"]),
        help="Where tasks run.  [default: the cluster's way]",
    ),
    click.Option(["--spot"], is_flag=True, help="On FARGATE_SPOT."),
    click.Option(["--subnet"], multiple=True, metavar="ID", help="A subnet of the tasks; may be repeated."),
    click.Option(
        ["--security-group"], multiple=True, metavar="ID", help="A security group; may be repeated."
    ),
    click.Option(["--public-ip"], is_flag=True, help="Give tasks public addresses."),
    click.Option(["--cpu"], metavar="UNITS", help="CPU units of a task; 1024 are one vCPU."),
    click.Option(["--memory"], type=click.IntRange(min=4), metavar="MIB", help="Memory of a task."),
    *_resources("task"),
)
