"""What `besom launch ray` can be told."""

from __future__ import annotations

import click

AMOUNT = click.FloatRange(min=0, min_open=True)

OPTIONS = (
    click.Option(
        ["--address"],
        metavar="URL",
        help="The cluster's dashboard.  [default: RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265]",
    ),
    click.Option(
        ["--num-cpus", "--cpus", "cpus"], type=AMOUNT, metavar="N", help="CPUs of a job.  [default: 1]"
    ),
    click.Option(["--num-gpus", "--gpus", "gpus"], type=AMOUNT, metavar="N", help="GPUs of a job."),
    click.Option(["--memory"], metavar="SIZE", help="Memory of a job, such as 16G."),
    click.Option(
        ["--resources"],
        multiple=True,
        metavar="NAME=N",
        help="Another resource of the nodes, as the cluster names it; may be repeated.",
    ),
    click.Option(
        ["--env"],
        multiple=True,
        metavar="NAME=VALUE",
        help="A variable of the agents, shown to whoever may look; may be repeated.",
    ),
    click.Option(
        ["--working-dir"],
        metavar="FOLDER",
        help="Send a copy of this folder, for nodes that do not see the one you are in.",
    ),
    click.Option(
        ["--runtime-env"],
        metavar="FILE",
        help="A runtime environment of Ray's, as YAML: pip, image_uri and the like.",
    ),
    click.Option(["--own-store"], is_flag=True, help="The nodes have BESOM_STORE; pass no address."),
)
