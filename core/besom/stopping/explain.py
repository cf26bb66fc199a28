"""Says why a run was stopped or goes on, from what its store has kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from besom.errors import NotFoundError
from besom.records import ENDED, QUEUED, Run, RunState, Segment
from besom.stopping import create_judge
from besom.stopping.judge import Judge, StoreBoard

if TYPE_CHECKING:
    from besom.records import Metric
    from besom.store.base import Store


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands among those that have reached a rung, now."""

    rung: int
    value: float  # what the run left there, as the metric was logged
    rank: int  # 1 is the best; equal ones share the better rank
    runs: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run was stopped or kept: one sentence, and the rungs it speaks of."""

    run_id: str
    state: RunState
    stopped: bool  # a stop was asked for
    by: str | None  # type of early termination of its sweep; None when there is none
    sentence: str
    verdict: str | None  # what its latest report would be told now; None when there is nothing to judge
    standings: tuple[Standing, ...]


def explain(store: Store, run: Run) -> Explanation:
    """Explain a run; reads its history, not that of others."""
    sweep = store.get_sweep(run.sweep_id) if run.sweep_id else None
    if run.sweep_id is None or sweep is None:
        return _plain(run, None, "it is outside every sweep, so nothing judges it")
    from besom.sweepfile import from_mapping

    config = from_mapping(sweep.config, source=f"sweep {sweep.id}")
    if (segment := Segment.of(run.key)) is not None and "interval" not in config.settings:
        return _plain(run, config.method, f"{_lineage(store, segment)}, and ends when its program does")
    judge = create_judge(store, run.lease, sweep.id, config)
    if judge is None or config.metric is None:
        return _plain(run, None, f"sweep {sweep.id} has no early_terminate, so nothing judges it")
    settings = config.early_terminate or config.settings
    by = str(settings.get("type", config.method))
    if run.attempt:
        judge.follow_stored()
    if judge.latest is None:
        beside = f" beside a value of {settings['resource']}" if "resource" in settings else ""
        return _plain(run, by, f"it has logged no finite {config.metric.name}{beside} yet")
    verdict = judge.verdict(judge.latest)
    sentence = _sentence(run, verdict.reason, stop=verdict.stop)
    return Explanation(
        run.id,
        run.state,
        run.stop_reason is not None,
        by,
        sentence if segment is None else f"{sentence}; {_lineage(store, segment)}",
        verdict.reason,
        _standings(judge, config.metric),
    )


def _lineage(store: Store, segment: Segment) -> str:
    """Say which member a run trains, and what it goes on from."""
    who = f"it trains member {segment.member} in generation {segment.generation}"
    if segment.parent is None:
        return f"{who} from the start"
    try:
        parent = store.get_run(segment.parent)
    except NotFoundError:
        return f"{who} from the checkpoint of run {segment.parent}, which was removed"
    before = Segment.of(parent.key)
    own = before is not None and before.member == segment.member
    whose = "its own run" if own else f"the better member {before.member if before else '?'}'s run"
    return f"{who} from the checkpoint of {whose} {parent.id}"


def _plain(run: Run, by: str | None, why: str) -> Explanation:
    sentence = _sentence(run, why, stop=False)
    return Explanation(run.id, run.state, run.stop_reason is not None, by, sentence, None, ())


def _sentence(run: Run, why: str, *, stop: bool) -> str:
    """Give what was decided, as it was written down then; what was not decided, as it stands now."""
    if run.stop_reason is not None:
        how = "is told to stop" if run.state is RunState.RUNNING else f"ended as {run.state.value}"
        if run.state is RunState.FINISHED:
            how += " before it was told to stop"
        return f"run {run.id} {how}: {run.stop_reason}"
    if run.state in QUEUED:
        return f"run {run.id} waits in the queue: {why}"
    if run.state in ENDED:
        now = "as the rungs stand now it would be stopped, " if stop else ""
        return f"run {run.id} ended as {run.state.value}, nothing stopped it: {now}{why}"
    return f"run {run.id} {'will be stopped at its next report' if stop else 'goes on'}: {why}"


def _standings(judge: Judge, metric: Metric) -> tuple[Standing, ...]:
    board = StoreBoard(judge.store, judge.sweep_id, judge.lease.run_id, judge.own)
    sign = 1 if metric.goal == "minimize" else -1
    return tuple(
        Standing(rung, sign * loss, _lower(board, rung, loss) + 1, board.size(rung))
        for rung, loss in sorted(judge.own.items())
    )


def _lower(board: StoreBoard, rung: int, loss: float) -> int:
    """Count the losses at a rung that are below `loss`, by bisection."""
    low, high = 0, board.size(rung)
    while low < high:
        middle = (low + high) // 2
        if board.kth(rung, middle) < loss:
            low = middle + 1
        else:
            high = middle
    return low
