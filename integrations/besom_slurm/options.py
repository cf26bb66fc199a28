"""What `besom launch slurm` can be told."""

from __future__ import annotations

import click

OPTIONS = (
    click.Option(["--array"], is_flag=True, help="Submit one job array instead of as many jobs."),
    click.Option(
        ["--at-once"],
        type=click.IntRange(min=1),
        metavar="N",
        help="Let only N tasks of the array run at the same time.",
    ),
    click.Option(["--partition", "-p"], metavar="NAME", help="The partition to run in."),
    click.Option(["--account", "-A"], metavar="NAME", help="The account to charge."),
    click.Option(["--time", "-t"], metavar="TIME", help="The time limit of a job, as SLURM writes it."),
    click.Option(["--cpus"], type=click.IntRange(min=1), metavar="N", help="CPUs of a job."),
    click.Option(["--gpus"], type=click.IntRange(min=1), metavar="N", help="GPUs of a job."),
    click.Option(["--mem"], metavar="SIZE", help="Memory of a job, such as 16G."),
    click.Option(
        ["--notice"],
        type=click.IntRange(min=0),
        default=120,
        show_default=True,
        metavar="SECONDS",
        help="How long before its time limit a job saves its run and queues up again; 0: never.",
    ),
    click.Option(
        ["--requeue/--no-requeue"],
        default=True,
        show_default=True,
        help="Whether SLURM may start a job again after a preemption or the failure of a node.",
    ),
    click.Option(
        ["--sbatch"],
        multiple=True,
        metavar="OPTION",
        help="Any other option of sbatch, such as --sbatch=--qos=high; may be repeated.",
    ),
)
