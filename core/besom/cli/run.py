"""`besom run`: create a sweep from a file, or continue it, and run it here."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from besom.cli.options import agent_options, to_agent_options
from besom.cli.output import counted, is_terminal, say, say_warnings
from besom.cli.session import Session, pass_session
from besom.errors import NotFoundError
from besom.records import BAD_ENDINGS, ENDED, GOOD_ENDINGS, Progress, Sweep, SweepState

if TYPE_CHECKING:
    from besom.agent import AgentOptions, AgentResult
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig

UNFINISHED = frozenset({SweepState.PENDING, SweepState.RUNNING, SweepState.PAUSED})


@click.command()
@click.argument("file", metavar="SWEEP.YAML", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="How many runs the sweep gets in all.")
@click.option("--new", is_flag=True, help="Start another sweep even if this file has one already.")
@agent_options
@pass_session
def run(session: Session, /, file: Path, count: int | None, *, new: bool, **chosen: Any) -> None:
    """Create a sweep from SWEEP.YAML and run it here; the same command again continues it.

    \b
    besom run sweep.yaml --count 40 --workers 4
    """
    from besom.sweepfile import load

    config = load(file)
    exit_code = 0
    with session.open(create=True) as store:
        sweep = None if new else sweep_of_file(store, config)
        sweep = _create(store, config) if sweep is None else _continue(session, store, sweep)
        left = None if count is None else count - store.progress(sweep.id).count(*ENDED)
        if sweep.state in UNFINISHED and (left is None or left > 0):
            result = _work(store, sweep, to_agent_options(left, **chosen), limit=count)
            exit_code = result.exit_code
            if exit_code and is_terminal(sys.stderr):  # elsewhere the line of an event stays
                say(f"left early: {result.reason}")
        elif left is not None and left <= 0:
            say(f"sweep {sweep.id} has its runs; a larger --count goes on, --new starts another")
        _conclude(session, store, store.get_sweep(sweep.id), file)
        exit_code = exit_code or int(_all_failed(store.progress(sweep.id)))
    raise click.exceptions.Exit(exit_code)


def sweep_of_file(store: Store, config: SweepConfig) -> Sweep | None:
    """Give the newest sweep that was made from this file as it is now, or None."""
    folder = str(Path(config.source).absolute().parent)
    for sweep in store.list_sweeps():
        if sweep.text == config.text and sweep.folder == folder:
            return sweep
    return None


def _all_failed(progress: Progress) -> bool:
    return progress.count(*BAD_ENDINGS) > 0 and not progress.count(*GOOD_ENDINGS)


def _create(store: Store, config: SweepConfig) -> Sweep:
    from besom.agent.start import check_program
    from besom.sweep import create_sweep

    check_program(config)
    say_warnings(config.warnings)
    sweep = create_sweep(store, config)
    expected = "" if sweep.expected_runs is None else f", Est. Runs {sweep.expected_runs}"
    say(f"created sweep {sweep.id} ({sweep.name}): {sweep.method}{expected}")
    return sweep


def _continue(session: Session, store: Store, sweep: Sweep) -> Sweep:
    from besom.sweep import resume_sweep

    done = store.progress(sweep.id).count(*ENDED)
    if sweep.state not in UNFINISHED:
        resume = f", `{session.command('resume', sweep.id)}` goes on with it"
        again = resume if sweep.state is SweepState.STOPPED else ""
        verb = "has finished" if sweep.state is SweepState.FINISHED else f"is {sweep.state.value}"
        say(f"sweep {sweep.id} of this file {verb} after {counted(done, 'run')}; --new starts another{again}")
        return sweep
    say(f"continuing sweep {sweep.id} of this file, {counted(done, 'run')} done; --new starts another")
    return resume_sweep(store, sweep.id) if sweep.state is SweepState.PAUSED else sweep


def _work(store: Store, sweep: Sweep, options: AgentOptions, *, limit: int | None) -> AgentResult:
    """Be an agent of the sweep, in this thread, and show how it goes."""
    from besom.agent import run_agent
    from besom.cli.live import Watcher
    from besom.cli.talk import agent_talk
    from besom.store import open_store

    eyes = open_store(store.url)  # of its own, so that looking never holds up the work
    try:
        with agent_talk(Watcher(eyes, sweep.id, limit=limit), sweep) as tell:
            return run_agent(store, sweep.id, options, on_event=tell)
    finally:
        eyes.close()


def _conclude(session: Session, store: Store, sweep: Sweep, file: Path) -> None:
    """Print the best run, or those that none beats, and what to do next."""
    from besom.cli.best import command_of, print_best, show_front
    from besom.front import goals_of

    goals, best = goals_of(sweep), store.best_run(sweep.id) if sweep.metric else None
    if len(goals) > 1:
        say("")
        with suppress(NotFoundError):  # no run has ended with a value of each
            show_front(store, sweep, goals, as_json=False)
    elif best:
        say("")
        print_best(sweep, best, command_of(sweep, best))
    if sweep.metric and best and best.value is not None and sweep.metric.reached(best.value):
        say(f"the sweep's target is reached: {sweep.metric.name} {sweep.metric.target:g}")
    progress = store.progress(sweep.id)
    if failed := progress.count(*BAD_ENDINGS):
        again = f"{session.command('retry', sweep.id)} && {session.command('agent', sweep.id)}"
        say(f"{counted(failed, 'run')} failed; run again with: {again}")
    if sweep.state in UNFINISHED:
        say(f"go on: {session.command('run', file)}")
    say(f"all runs: {session.command('ls', sweep.id)}")
