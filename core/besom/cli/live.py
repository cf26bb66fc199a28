"""What a person sees of a running sweep: gathered in small reads, drawn as a live view or as one line."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from besom.cli.output import assignments, duration, number, rich_table
from besom.cli.rows import constants_of, done_of, run_columns, run_json, run_words
from besom.records import ENDED, GOOD_ENDINGS, Progress, Run, RunState, Sweep, SweepState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from besom.store.base import Store

OVER = frozenset({SweepState.FINISHED, SweepState.STOPPED, SweepState.CANCELED})
PAGE = 2000  # ended runs read at one refresh: a large sweep's past appears over several
REMEMBERED = 50  # latest runs shown, and those whose durations foretell the end
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A sweep at one moment."""

    sweep: Sweep
    progress: Progress
    expected: int | None
    best: Run | None
    running: tuple[Run, ...]
    latest: tuple[Run, ...]  # ended, newest first
    bests: tuple[float, ...]  # the best value so far after each ended run that had one
    seconds_left: float | None
    constants: frozenset[str]  # parameters that are the same in all runs

    @property
    def over(self) -> bool:
        """Say whether nothing will change any more by itself."""
        return self.progress.state in OVER and not self.progress.count(RunState.RUNNING)


@dataclass
class Watcher:
    """Follows a sweep in a store; each look reads only what has changed since the last."""

    store: Store
    sweep_id: str
    limit: int | None = None  # no more runs than this, though the sweep has more
    _seen: int = 0
    _constants: tuple[int, frozenset[str]] | None = None  # and the version of the sweep they are of
    _latest: deque[Run] = field(default_factory=lambda: deque[Run](maxlen=REMEMBERED))
    _bests: list[float] = field(default_factory=list[float])

    def look(self) -> Snapshot:
        """Give the sweep as it is now."""
        sweep = self.store.get_sweep(self.sweep_id)
        progress = self.store.progress(self.sweep_id)
        running = tuple(self.store.list_runs(self.sweep_id, states={RunState.RUNNING}))
        self._read_on(sweep)
        limits = [limit for limit in (progress.expected, self.limit) if limit is not None]
        expected = min(limits, default=None)
        return Snapshot(
            sweep=sweep,
            progress=progress,
            expected=expected,
            best=self.store.best_run(self.sweep_id),
            running=running,
            latest=tuple(reversed(self._latest)),
            bests=tuple(self._bests),
            seconds_left=self._seconds_left(progress, expected, running),
            constants=self._constants_of(sweep),
        )

    def _constants_of(self, sweep: Sweep) -> frozenset[str]:
        if self._constants is None or self._constants[0] != sweep.version:
            self._constants = sweep.version, constants_of(sweep)
        return self._constants[1]

    def _read_on(self, sweep: Sweep) -> None:
        ended = self.store.list_runs(self.sweep_id, states=ENDED, changed_after=self._seen, limit=PAGE)
        for run in ended:
            self._seen = run.changed
            self._latest.append(run)
            if sweep.metric is None or run.value is None or run.state not in GOOD_ENDINGS:
                continue
            if not sweep.metric.feasible(run.summary):
                continue
            better = not self._bests or sweep.metric.better(run.value, self._bests[-1])
            self._bests.append(run.value if better else self._bests[-1])

    def _seconds_left(
        self, progress: Progress, expected: int | None, running: tuple[Run, ...]
    ) -> float | None:
        """Foretell the end: runs take as long as the latest did, as many at once as now."""
        spans = [run.ended - run.started for run in self._latest if run.ended and run.started]
        if expected is None or not spans or not running:
            return None
        usual = sum(spans) / len(spans)
        now = time.time()
        begun = sum(min(now - run.started, usual) for run in running if run.started)
        remaining = max(expected - progress.count(*ENDED), len(running))
        return max(remaining * usual - begun, 0.0) / len(running)


def sparkline(values: tuple[float, ...], width: int) -> str:
    """Give a series as a row of small bars, at most `width` of them, the lowest value lowest."""
    if not values:
        return ""
    step = max(len(values) / width, 1.0)
    chosen = [
        values[min(int((index + 1) * step) - 1, len(values) - 1)] for index in range(int(len(values) / step))
    ]
    low, high = min(chosen), max(chosen)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in chosen)


def draw(snapshot: Snapshot, *, rows: int, note: str = "") -> RenderableType:
    """Give the live view: heading, progress, the best so far, up to `rows` runs (running first), a note."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_heading(snapshot), _bar(snapshot)]
    if snapshot.sweep.metric:
        parts.append(_best(snapshot))
    runs = [*snapshot.running, *snapshot.latest][:rows]
    if runs:
        metric = snapshot.sweep.metric.name if snapshot.sweep.metric else None
        parts += [
            Text(""),
            rich_table(run_columns(metric), [run_words(run, hidden=snapshot.constants) for run in runs]),
        ]
    if note:
        parts += [Text(""), Text(note, style="yellow", no_wrap=True, overflow="ellipsis")]
    return Group(*parts)


def rows_that_fit(screen: Console) -> int:
    """Give how many runs a live view may list: it must fit the terminal whole, and not fill it."""
    return max(min(screen.height - 8, 16), 1)


def _heading(snapshot: Snapshot) -> RenderableType:
    from rich.text import Text

    from besom.cli.output import STATE_STYLES

    sweep, state = snapshot.sweep, snapshot.progress.state.value
    text = Text.assemble(
        (sweep.name, "bold"), f"  {sweep.id}  {sweep.method}  ", (state, STATE_STYLES[state])
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _bar(snapshot: Snapshot) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    done, words = snapshot.progress.count(*ENDED), status_words(snapshot)
    row = Table.grid(padding=(0, 2, 0, 0))
    cells: list[RenderableType] = []
    if snapshot.expected:
        cells.append(ProgressBar(total=snapshot.expected, completed=done, width=30))
    row.add_row(*cells, words)
    return row


def status_words(snapshot: Snapshot) -> str:
    """Give how far the sweep is, as `5/12 runs, 2 running, 1 failed, about 0:07 left`."""
    progress = snapshot.progress
    words = [f"{done_of(progress, snapshot.expected)} runs"]
    shown = (RunState.RUNNING, RunState.PENDING, RunState.PREEMPTED, RunState.STOPPED)
    words += [f"{count} {state.value}" for state in shown if (count := progress.count(state))]
    if count := progress.count(RunState.FAILED, RunState.CRASHED, RunState.KILLED):
        words.append(f"{count} failed")
    if snapshot.seconds_left is not None and not snapshot.over:
        words.append(f"about {duration(snapshot.seconds_left)} left")
    return ", ".join(words)


def _best(snapshot: Snapshot) -> RenderableType:
    from rich.text import Text

    metric, best = snapshot.sweep.metric, snapshot.best
    assert metric is not None, "only drawn for sweeps with a metric"
    text = Text(no_wrap=True, overflow="ellipsis")
    if best is None:
        return text.append(f"best {metric.name}: none yet")
    text.append(f"best {metric.name} ").append(number(best.value), "bold green")
    text.append(f"  run {best.number}  ").append(sparkline(snapshot.bests, 24), "green")
    return text.append(f"  {assignments(best.params, hidden=snapshot.constants)}")


def snapshot_line(snapshot: Snapshot) -> str:
    """Give the same in one line, for a log."""
    metric, best = snapshot.sweep.metric, snapshot.best
    words = f"{snapshot.sweep.id} {snapshot.progress.state.value}: {status_words(snapshot)}"
    return (
        words
        if not (metric and best)
        else f"{words}, best {metric.name} {number(best.value)} (run {best.number})"
    )


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """Give the same as JSON, for a program that follows along."""
    return {
        "sweep": snapshot.sweep.id,
        "state": snapshot.progress.state.value,
        "expected_runs": snapshot.expected,
        "runs": {state.value: count for state, count in snapshot.progress.counts.items() if count},
        "best": {"run": snapshot.best.id, "value": snapshot.best.value} if snapshot.best else None,
        "running": [run_json(run) for run in snapshot.running],
        "seconds_left": snapshot.seconds_left,
    }
