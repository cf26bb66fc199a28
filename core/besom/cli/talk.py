"""What an agent's events look like: one plain line each, or a live view of its sweep on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Container, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from besom.cli.live import Watcher, draw, rows_that_fit
from besom.cli.output import assignments, console, duration, is_terminal, number, say
from besom.cli.rows import constants_of, reason
from besom.errors import StoreError
from besom.records import Metric, Run, RunState, Sweep

if TYPE_CHECKING:
    from besom.agent import AgentEvent

REFRESH_SECONDS = 0.25
NOTED = frozenset({"stopping", "lost", "waiting", "paused", "store", "leaving"})


def event_line(event: AgentEvent, metric: Metric | None, hidden: Container[str] = ()) -> str:
    """Give an event as one line."""
    run = f"run {event.run.number} ({event.run.id})" if event.run else ""
    if event.kind == "started" and event.run:
        return f"{run} started: {assignments(event.run.params, hidden=hidden)}"
    if event.kind == "ended" and event.run:
        return f"{run} {_ending(event, event.run, metric)}"
    lines = {
        "joined": f"agent {event.detail} joined",
        "output": f"{run} | {event.detail}",
        "stopping": f"{run} is told to end: {event.detail}",
        "lost": f"{run} belongs to another agent now",
        "waiting": "nothing to take now; waiting for the runs that are left",
        "paused": "the sweep is paused; waiting",
        "store": f"the store fails: {event.detail}",
        "leaving": f"no more runs are taken: {event.detail}",
    }
    return lines.get(event.kind, f"{event.kind} {event.detail}".rstrip())


def _ending(event: AgentEvent, run: Run, metric: Metric | None) -> str:
    state = event.outcome.state if event.outcome else run.state
    spent = None if run.started is None else (run.ended or time.time()) - run.started
    words = f"{state.value} in {duration(spent)}"  # also where the run waits for its next attempt
    if metric and run.value is not None:
        words += f", {metric.name} {number(run.value)}"
    error = event.outcome.error if event.outcome else run.error
    if state is RunState.FAILED and error:
        words += f": {reason(error)}"
    if state is RunState.FAILED:
        words += f" (besom logs {run.id})"
    return words


@contextmanager
def event_lines(sweep: Sweep) -> Generator[Callable[[AgentEvent], None]]:
    """Give what prints events on stderr; when its reader has left, the agent goes on in silence."""
    silent, hidden = False, constants_of(sweep)

    def tell(event: AgentEvent) -> None:
        nonlocal silent
        if silent:
            return
        try:
            say(event_line(event, sweep.metric, hidden))
        except OSError:
            silent = True

    yield tell


@contextmanager
def live_view(watcher: Watcher, sweep: Sweep) -> Generator[Callable[[AgentEvent], None]]:
    """Show the sweep on the terminal while the agent works in this thread; the last picture stays."""
    from rich.live import Live
    from rich.text import Text

    screen, done = console(stderr=True), threading.Event()
    note = ""

    def tell(event: AgentEvent) -> None:
        nonlocal note
        if event.kind == "output":
            live.console.print(Text(event_line(event, sweep.metric)))
        note = event_line(event, sweep.metric) if event.kind in NOTED else note

    def refresh() -> None:
        while not done.wait(REFRESH_SECONDS):
            with suppress(StoreError):  # the agent says so, and knows how long to bear it
                live.update(draw(watcher.look(), rows=rows_that_fit(screen), note=note), refresh=True)

    with Live(console=screen, auto_refresh=False) as live:
        thread = threading.Thread(target=refresh, name="besom-live", daemon=True)
        thread.start()
        try:
            yield tell
        finally:
            done.set()
            thread.join()
            live.update(draw(watcher.look(), rows=rows_that_fit(screen)), refresh=True)


@contextmanager
def agent_talk(watcher: Watcher, sweep: Sweep) -> Generator[Callable[[AgentEvent], None]]:
    """Give the live view on a terminal, else lines."""
    view = live_view(watcher, sweep) if is_terminal(sys.stderr) else event_lines(sweep)
    with view as tell:
        yield tell
