"""Has a sweep's jobs run by other processes: agents that a besom launcher starts, or the user does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from besom.errors import BesomError, RunFailedError
from besom.launch import AgentJob, Launched, Launcher, create_launcher, launcher_class
from besom.records import ENDED, Run, RunState, SweepState

if TYPE_CHECKING:
    from besom.store.base import Store
    from besom_hydra.work import LaunchOptions

log = logging.getLogger(__name__)

_OVER = (SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELED)
_PAUSE = 0.5
_SILENCE = 60.0  # seconds without a word after which an agent is taken for gone
_ASK = 10.0  # seconds between questions to a launcher: those to a scheduler cost it something


def hand_over(store: Store, sweep_id: str, options: LaunchOptions, on_run: Callable[[Run], None]) -> None:
    """Start the agents that `options` ask for and, unless `wait` is off, wait until the sweep is over.

    `on_run` is called with each run that has ended by then. Leaving early ends the agents that were started.
    RunFailedError when no agent works on the sweep any more and it is not over.
    """
    launcher: Launcher | None = None
    launched: Sequence[Launched] = ()
    if options.backend is not None:
        launcher = create_launcher(options.backend, **_settings(options, options.backend))
        job = AgentJob(sweep_id, store.url, _arguments(options))
        launched = launcher.launch(job, options.workers or 1)
        for agent in launched:
            log.info("%s", agent.description)
    if not options.wait:
        _say_how(store, sweep_id, len(launched))
        return
    try:
        _wait(store, sweep_id, on_run, launcher, launched)
    except BaseException:
        if launcher is not None:
            launcher.cancel(launched)
        raise


def _say_how(store: Store, sweep_id: str, agents: int) -> None:
    progress = store.progress(sweep_id)
    log.info("sweep %s is registered in %s; nobody waits for it here", sweep_id, store.url)
    if agents:
        log.info("%d agents were started for it (%d runs so far)", agents, progress.count())
    else:
        log.info("run it, on as many machines as reach the store, with: besom agent %s", sweep_id)
    log.info("follow it with: besom watch %s", sweep_id)


def _wait(
    store: Store,
    sweep_id: str,
    on_run: Callable[[Run], None],
    launcher: Launcher | None,
    launched: Sequence[Launched],
) -> None:
    changed, silent_since, asked = 0, time.monotonic(), time.monotonic()
    while True:
        over = store.get_sweep(sweep_id).state in _OVER and not store.progress(sweep_id).count(
            RunState.RUNNING
        )
        for run in store.list_runs(sweep_id, changed_after=changed):
            changed, silent_since = run.changed, time.monotonic()
            if run.state in ENDED:
                on_run(run)
        if over:
            return
        if launcher is None:
            left = not store.progress(sweep_id).count(RunState.RUNNING) and _left(
                store, sweep_id, silent_since
            )
        elif left := time.monotonic() - asked > _ASK and _silent(store, sweep_id):
            asked = time.monotonic()
            left = _gone(launcher, launched)
        if left:
            raise RunFailedError(
                f"no agent works on sweep {sweep_id} any more, and it is not over; see what became of them"
                f" with `besom show {sweep_id}`, or run `besom agent {sweep_id}`"
            )
        time.sleep(_PAUSE)


def _left(store: Store, sweep_id: str, since: float) -> bool:
    """Say whether agents have joined the sweep and none has been seen for a while."""
    joined = bool(store.list_agents(sweep_id))
    return joined and time.monotonic() - since > _SILENCE and _silent(store, sweep_id)


def _silent(store: Store, sweep_id: str) -> bool:
    """Say whether no agent of the sweep has been seen for a while; none has where none has joined."""
    return all(agent.seen < time.time() - _SILENCE for agent in store.list_agents(sweep_id))


def _gone(launcher: Launcher, launched: Sequence[Launched]) -> bool:
    """Say whether the launcher has none of its agents any more: one that waits to start again is there."""
    try:
        return not launcher.alive(launched)
    except BesomError as error:  # a scheduler that does not answer has not ended its jobs
        log.warning("%s; the jobs are taken to be there", error)
        return False


def _settings(options: LaunchOptions, backend: str) -> dict[str, Any]:
    """Give what the launcher is told: a job that takes GPUs asks for them, where there is a word for it."""
    asks = options.gpus_per_job and any(option.name == "gpus" for option in launcher_class(backend).options)
    return {**({"gpus": options.gpus_per_job} if asks else {}), **options.backend_options}


def _arguments(options: LaunchOptions) -> tuple[str, ...]:
    words = ["--grace", f"{options.grace:g}"]
    if options.gpus_per_job:
        words += ["--gpus-per-run", str(options.gpus_per_job)]
    if options.timeout is not None:
        words += ["--timeout", f"{options.timeout:g}"]
    return tuple(words)
