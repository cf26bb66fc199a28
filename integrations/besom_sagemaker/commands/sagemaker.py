"""`besom sagemaker`: sweeps whose runs are SageMaker training jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from besom.cli.options import POSITIVE
from besom.cli.output import counted, json_option, print_json, say
from besom.cli.session import Session, pass_session
from besom.errors import UsageError
from besom_sagemaker.commands.secrets import parse_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from besom.agent import AgentResult
    from besom_sagemaker.sweep import SageMakerSweep

PER_JOB = click.IntRange(min=1)


class _Number(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number of runs, or the word for as many as there are."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        return value if value == "until_done" else PER_JOB.convert(value, param, ctx)


@click.group()
def sagemaker() -> None:
    """Run sweeps as SageMaker training jobs, from this machine."""


_FILE = click.argument("file", metavar="SWEEP.YAML", type=click.Path(path_type=Path))
_CODE = (
    click.option("--source-dir", metavar="DIR", help="The folder of the program."),
    click.option("--program", help="What to run in it.  [default: the sweep file's]"),
)
_SHARED = (
    _FILE,
    click.option(
        "--job",
        required=True,
        metavar="JOB.YAML",
        type=click.Path(path_type=Path),
        help="A CreateTrainingJob request, and settings of the sweep.",
    ),
    *_CODE,
)
_RUN = (
    click.option("--max-jobs", type=PER_JOB, metavar="N", help="Jobs at the same time.  [default: 4]"),
    click.option(
        "--trials-per-job", type=_Number(), metavar="N", help="Runs that share a job.  [default: 1]"
    ),
    click.option("--count", type=PER_JOB, metavar="N", help="How many runs the sweep gets in all."),
    click.option("--secret", "secrets", multiple=True, metavar="NAME=REFERENCE", help="For the runs."),
    click.option("--new", is_flag=True, help="Start another sweep even if this file has one already."),
)


def _with(*options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@sagemaker.command()
@_with(*_SHARED, *_RUN)
@click.option("--spot/--no-spot", default=None, help="Managed spot training.")
@click.option("--budget", "budget_usd", type=POSITIVE, metavar="USD", help="End the sweep when it is spent.")
@click.option("--price", "prices", multiple=True, metavar="TYPE=USD", help="Of an instance for an hour.")
@click.option("--poll", "poll_seconds", type=POSITIVE, metavar="S", help="Between two looks.  [default: 5]")
@click.option("--check", is_flag=True, help="Show the request of the first job; submit nothing.")
@pass_session
def run(session: Session, /, *, new: bool, check: bool, **chosen: Any) -> None:
    """Create a sweep from SWEEP.YAML and run it as training jobs; the same command again continues it.

    Ctrl-C leaves the jobs alone: the same command goes on with them, `besom sagemaker stop` ends them.
    """
    sweep = _sweep(session, prices=_prices(chosen.pop("prices")), **chosen)
    if check:
        print_json(sweep.preview())
        return
    _conclude(sweep, _drive(sweep, new=new))


@sagemaker.command()
@_with(_FILE, *_CODE, *_RUN)
@click.option("--job", metavar="JOB.YAML", type=click.Path(path_type=Path), help="As for `run`.")
@click.option("--channel", "channels", multiple=True, metavar="NAME=DIR", help="Data of an input channel.")
@click.option("--logs", is_flag=True, help="Show what the jobs print.")
@pass_session
def dev(
    session: Session, /, *, job: Path | None, channels: tuple[str, ...], new: bool, logs: bool, **chosen: Any
) -> None:
    """Run SWEEP.YAML as the same training jobs, on this machine: neither AWS nor docker is needed.

    Jobs get their channels, parameters, secrets and signals as SageMaker gives them, and this Python as their
    image. S3 addresses of JOB.YAML's input channels are filled from folders by --channel. It needs the extra
    besom[sagemaker-dev].
    """
    from besom_sagemaker.dev import dev_sweep, print_logs

    words = parse_words(chosen.pop("secrets"))
    settings = {name: value for name, value in chosen.items() if value is not None}
    if session.store is not None:
        settings["store"] = session.store
    with dev_sweep(settings.pop("file"), job, dict(_pairs(channels)), words, settings) as (sweep, bench):
        result = _drive(sweep, new=new)
        if logs:
            print_logs(bench, click.echo)
    _conclude(sweep, result)


@sagemaker.command()
@_with(*_SHARED)
@json_option
@pass_session
def status(session: Session, /, *, as_json: bool, **chosen: Any) -> None:
    """Show how far a sweep is, which jobs run, and what they have cost."""
    found = _sweep(session, **chosen).status()
    counts = {state.value: number for state, number in found.progress.counts.items() if number}
    document = {
        "sweep": found.sweep.id,
        "state": found.sweep.state.value,
        "runs": counts,
        "jobs": dict(found.jobs),
        "billable_seconds": found.seconds,
        "spot_saved_seconds": found.saved_seconds,
        "usd": found.usd,
    }
    if as_json:
        print_json(document)
        return
    runs = ", ".join(f"{number} {state}" for state, number in counts.items()) or "no runs yet"
    click.echo(f"sweep {found.sweep.id} is {found.sweep.state.value}: {runs}")
    for name, secondary in found.jobs.items():
        click.echo(f"{name}  {secondary}")
    money = "" if found.usd is None else f", {found.usd:.2f} USD"
    click.echo(f"billed: {found.seconds} s{money}; spot saved {found.saved_seconds} s")


@sagemaker.command()
@_with(*_SHARED)
@click.option("--kill", is_flag=True, help="End the runs at once and cancel the sweep.")
@pass_session
def stop(session: Session, /, *, kill: bool, **chosen: Any) -> None:
    """Hand out no more runs, and end those that run."""
    sweep = _sweep(session, **chosen).stop(kill=kill)
    say(f"sweep {sweep.id} is {sweep.state.value}; its jobs are told to end")


@sagemaker.command("iam-policy")
@click.option(
    "--job", metavar="JOB.YAML", type=click.Path(path_type=Path), help="Where to take the rest from."
)
@click.option("--prefix", metavar="S3_URI", help="Where the sweeps' files are.")
@click.option("--role-arn", metavar="ARN", help="The role of the jobs.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME=REFERENCE", help="What the jobs read.")
@click.option("--region", help="The AWS region.  [default: any]")
def iam_policy(
    *,
    job: Path | None,
    prefix: str | None,
    role_arn: str | None,
    secrets: tuple[str, ...],
    region: str | None,
) -> None:
    """Print the least that AWS has to allow: to you, and to the role of the jobs."""
    from besom_sagemaker.iam import least_policy
    from besom_sagemaker.template import read_template

    request: Mapping[str, Any] = {}
    references: dict[str, str] = {}
    if job is not None:
        template = read_template(job)
        request = template.request
        references = dict(template.options.get("secrets") or {})
        prefix = prefix or template.options.get("s3_prefix")
    output = request.get("OutputDataConfig", {}).get("S3OutputPath")
    prefix = prefix or (f"{str(output).rstrip('/')}/besom" if output else None)
    role_arn = role_arn or request.get("RoleArn")
    if prefix is None or role_arn is None:
        raise UsageError("give --job JOB.YAML, or --prefix and --role-arn")
    inputs = [
        source["S3Uri"]
        for channel in request.get("InputDataConfig", ())
        if (source := channel.get("DataSource", {}).get("S3DataSource"))
    ]
    policies = least_policy(
        prefix=prefix,
        role_arn=role_arn,
        secrets={**references, **parse_words(secrets)},
        region=region,
        inputs=inputs,
        outputs=[output] if output else [],
    )
    click.echo(policies.to_json())


def _sweep(session: Session, *, file: Path, job: Path, **chosen: Any) -> SageMakerSweep:
    """Give the sweep that the words of a command describe."""
    from besom_sagemaker.sweep import SageMakerSweep

    words = chosen.pop("secrets", ())
    settings = {name: value for name, value in chosen.items() if value is not None and value != ()}
    if words:
        settings["secrets"] = parse_words(words)
    if session.store is not None:
        settings["store"] = session.store
    return SageMakerSweep(job, file, **settings)


def _pairs(words: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Read `NAME=DIR` words."""
    pairs: list[tuple[str, Path]] = []
    for word in words:
        name, separator, place = word.partition("=")
        if not separator or not Path(place).exists():
            raise UsageError(f"--channel {word}: write NAME=DIR, with a folder or file that is there")
        pairs.append((name, Path(place)))
    return pairs


def _prices(words: tuple[str, ...]) -> dict[str, float] | None:
    prices: dict[str, float] = {}
    for word in words:
        name, _, price = word.partition("=")
        try:
            prices[name] = float(price)
        except ValueError:
            raise UsageError(f"--price {word}: write TYPE=USD, such as ml.m5.large=0.115") from None
    return prices or None


def _drive(sweep: SageMakerSweep, *, new: bool) -> AgentResult:
    """Drive a sweep, with a line for whatever happens."""
    from besom.cli.talk import event_line

    return sweep.run(new=new, on_event=lambda event: say(event_line(event, sweep.metric)))


def _conclude(sweep: SageMakerSweep, result: AgentResult) -> None:
    """Say how the sweep went, and print its best run."""
    if result.exit_code:
        say(f"left early: {result.reason}")
    say(", ".join(f"{counted(number, 'run')} {state.value}" for state, number in result.counts.items()))
    best = sweep.best()
    if best is not None and best.value is not None:
        click.echo(f"best: run {best.number} ({best.id}), {best.value:g}: {dict(best.params)}")
    raise click.exceptions.Exit(result.exit_code)
