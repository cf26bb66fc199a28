"""LiveRun: what a program does with its run."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from besom.config import Config
from besom.errors import RunStopped, StateError, StoreFullError, UsageError
from besom.folders import RunFile, RunFolder
from besom.journal import Journal
from besom.jsonable import jsonable
from besom.records import RunState
from besom.run.active import deactivate
from besom.run.flusher import Flusher
from besom.run.keeping import Keeping
from besom.run.outcome import agent_lives, cause_of_exit, code_and_error
from besom.run.row import LAST_STEP, as_row, as_step
from besom.run.summary import Summary
from besom.run.waiting import Waiting
from besom.summarize import Summarizer

logger = logging.getLogger(__name__)

FINISH_PATIENCE = 60.0  # seconds that finish() waits for a store that does not answer
LEAVE_PATIENCE = 10.0  # the same where an agent stands by to deliver the rest


class LiveRun(Keeping):
    """A run inside its program; made by `init`.

    Without a journal (on ranks above 0, or with mode="disabled") it can be used all the same and keeps
    nothing.
    """

    def __init__(
        self,
        about: RunFile,
        folder: RunFolder | None,
        config: Config,
        *,
        params: Mapping[str, Any] | None = None,
        journal: Journal | None = None,
        flusher: Flusher | None = None,
        new_flusher: Callable[[], Flusher] | None = None,
        environment: Mapping[str, str] | None = None,
        summarizer: Summarizer | None = None,
        step: int = 0,
        judged: bool = False,
    ) -> None:
        super().__init__(about, folder, params or {}, journal)
        self.environment = environment or {}
        self.config = config
        """The run's config; what the sweep has set stays."""
        self._flusher = flusher
        self._new_flusher = new_flusher  # for a process that another one delivers for
        self._asker = flusher  # what `ask_stop` asks; only the owner has a thread in it
        self._summarizer = summarizer or Summarizer(about.metric)
        self._step = step
        self.floor = 0
        """The lowest step that `log` still takes: that of its latest call in this process."""
        self._warned_of_step = False
        self._preempting = False
        self._quiet = False
        self._told = ""  # the action that should_stop or check_stop told the program last
        self.stops_at_log = False
        """Whether `log` raises RunStopped where the program does not ask by itself."""
        self.ended = False
        """Whether `finish` was called, or the program has left its run."""
        self._judged = judged  # an agent started this process
        self._pid = os.getpid()
        self._lock = threading.RLock()  # reentrant: a signal handler may log, too
        self._waiting = Waiting()
        if flusher is not None:
            flusher.gather = functools.partial(self._write_waiting, wait=False)

    # ---- logging

    @property
    def step(self) -> int:
        """The step that the next `log` without one gets."""
        return self._step

    @property
    def summary(self) -> Summary:
        """One value per metric: the last logged, or what `define_metric` and the program made it."""
        self._write_waiting()
        return Summary(self._summarizer, self._change_summary)

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **_: Any
    ) -> None:
        """Record metrics at a step; safe from the death of this process once it returns.

        Without `step` each call is one step. Calls with the same `step`, and a call with `commit=False` and
        the one after it, are one step together. A step before the latest one is ignored with a warning.

        In a function that `besom.agent` calls, RunStopped once the run was asked to end, unless the function
        asks by itself, by `should_stop` or its kin: there is no process that a signal could end.
        """
        with self._lock:
            self._check_open("log")
            row = as_row(data)
            at = self._step if step is None else as_step(step)
            if not self.floor <= at <= LAST_STEP:
                self._refuse_step(at)
                return
            row = self._record("history", {"step": at, "data": row})["data"]
            self._summarizer.log(row)
            self.floor = at
            self._step = at + 1 if commit or (commit is None and step is None) else at
        if self.stops_at_log and not self._quiet and self._flusher and not self._flusher.polled:
            directive = self._flusher.directive
            if directive.action != "continue":
                self._record_stopping(directive.action)
                raise RunStopped(directive.reason or "asked to stop")

    def log_later(self, data: Mapping[str, Any], step: int) -> None:
        """Record metrics at a step as `log` does, but not at once: at most about a second later.

        For what is logged very often, as it costs a fraction: a process that is killed loses that second.
        Everything else that is recorded, and every ordinary end of the program, comes after it.
        """
        if self._flusher is None or self.ended or not self.floor <= step <= LAST_STEP:
            self.log(data, step=step)
            return
        self.floor = self._step = step
        if self._waiting.add(step, as_row(data)):
            self._write_waiting()

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        *,
        summary: str | None = None,
        goal: str | None = None,
        **_: Any,
    ) -> None:
        """Summarize a metric, or all that a glob matches, by "min", "max", "mean", "last", "best" or "none".

        Several may be joined by commas. The summary is then {"min": ...} under the metric's name; a sweep
        finds it as `loss.min` and as `loss`. "best" is best by `goal`, "minimize" or "maximize", else by the
        sweep's goal. `step_metric`, W&B's x axis of charts, is accepted and ignored.
        """
        with self._lock:
            self._check_open("define_metric")
            self._summarizer.define(name, summary, goal)
            self._record("define", {"name": name, "summary": summary, "goal": goal})

    def mark_preempting(self) -> None:
        """Say that this process is about to be preempted: ending with an error, it is queued again."""
        with self._lock:
            self._check_open("mark_preempting")
            self._preempting = True
            self._record("preempting", {})

    def note_error(self, error: str | None) -> None:
        """Say why the run fails, if it should end as failed; None takes back what was said.

        Of several notes the first counts, before the exception that the run ends with: of many processes
        that fail together it tells which was the first. Ranks above 0 may note errors, too.
        """
        entry = {"error": error}
        if self._journal is not None:
            if not self.ended:
                self._record_last("error", entry)
        elif self._folder is not None:
            journal = Journal(self._folder.journal(self.attempt))
            journal.append("error", time.time(), entry)
            journal.close()

    # ---- stopping

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to end: stopped early, killed, or taken over by a later attempt.

        Asking once tells the agent that this program ends by itself, so it is not interrupted at once. The
        answer is at most seconds old; on ranks above 0 and in forked children it is always False.
        """
        return self._stop_reason() is not None

    @property
    def told_to_stop(self) -> bool:
        """Whether this program has learned that it shall stop, by `should_stop` or its kin in any process."""
        if self._told or self._flusher is None or self.ended:
            return bool(self._told)
        self._flusher.ask()  # another process of the run may have written it to the journal
        return bool(self._flusher.told)

    def check_stop(self) -> None:
        """Raise RunStopped if `should_stop`; call it where the program can save its state."""
        if (reason := self._stop_reason()) is not None:
            raise RunStopped(reason)

    def ask_stop(self, data: Mapping[str, Any] | None = None, step: int | None = None) -> str | None:
        """Log `data`, bring all that was logged to the store, give why the run should stop; None: go on.

        The answer to the very last `log`, where that of `should_stop` may be a few seconds older. It costs
        one transaction of the store, and works in a forked or spawned process of the run, too. While the
        store is away it is the last answer known.
        """
        if data is not None:
            with self._lock:
                self._quiet = True  # what this thread is about to deliver, the other one need not
                try:
                    self.log(data, step=step)
                finally:
                    self._quiet = False
        else:
            self._write_waiting()
        if self._asker is None and self._new_flusher is not None:
            self._asker = self._new_flusher()
        if self._asker is None or self.ended:
            return None
        self._asker.ask()
        return self._stop_reason()

    def _stop_reason(self) -> str | None:
        flusher = self._asker
        if flusher is None or self._folder is None:
            return None
        if not flusher.polled:
            flusher.polled = True
            self._folder.polls_stop.touch()
        directive = flusher.directive
        if directive.action == "continue":
            return None
        self._record_stopping(directive.action)
        return directive.reason or "asked to stop"

    def _record_stopping(self, action: str) -> None:
        """Note that the program was told to end: if it merely exits then, its agent knows why."""
        with self._lock:
            if self.ended or self._told == action:
                return
            self._told = action
            if action != "lost":
                self._record_last("stopping", {"action": action})

    # ---- ending

    def finish(self, exit_code: int | None = 0, **_: Any) -> None:
        """End the run, wait until the store has all of it; a second call does nothing.

        A code other than 0 means that it failed, or was preempted if `mark_preempting` was called.
        """
        ended = self._stopped_state() if self.told_to_stop else RunState.FINISHED
        self._end(self._error_state() if exit_code else ended, exit_code or 0, None)

    def end_with(self, exception: BaseException | None) -> None:
        """End the run by what leaves its program: None and SystemExit(0) finish it, RunStopped stops it.

        Under an agent that lives, exits and interrupts are left for it to judge: it knows what signals it
        sent.
        """
        if exception is None:
            self.finish()
            return
        exception = cause_of_exit(exception)
        code, error = code_and_error(exception)
        if isinstance(exception, RunStopped):
            self._end(self._stopped_state(), code, error)
        elif code and self.judged and isinstance(exception, (SystemExit, KeyboardInterrupt)):
            self.leave()
        elif isinstance(exception, KeyboardInterrupt):
            self._end(RunState.KILLED, code, error)
        else:
            self._end(self._error_state() if code else RunState.FINISHED, code, error)

    def leave(self) -> None:
        """Deliver everything and let go of the run without ending it: its agent will."""
        self._close(None, patience=LEAVE_PATIENCE)

    def _end(self, state: RunState, code: int, error: str | None) -> None:
        with self._lock:
            if self.ended:
                return
            ending = {"state": state.value, "exit_code": code, "error": error}
            if self._owned:
                self._record_last("finish", ending)
            self._close(ending, patience=FINISH_PATIENCE)

    def _close(self, ending: dict[str, Any] | None, *, patience: float) -> None:
        with self._lock:
            if self.ended:
                return
            self.ended = True
            deactivate(self)
            if self._journal is None:
                return
            self._try(self._write_waiting)
            if self._owned and self._flusher is not None:
                told = self._flusher.settle(ending, patience=patience)
                if told is not None:
                    self._record_last("delivered", told.as_entry())
            self._journal.close()

    def _record_last(self, kind: str, body: Mapping[str, Any]) -> None:
        self._try(lambda: self._record(kind, body))

    def _try(self, write: Callable[[], Any]) -> None:
        """Write what the end of a run does not depend on: a bad disk shall not keep it from ending."""
        try:
            write()
        except (StoreFullError, OSError) as error:
            logger.warning("run %s: %s", self.id, error)

    @property
    def _owned(self) -> bool:
        """Whether this process delivers and ends the run: not after a fork, nor where another does."""
        return self._flusher is not None and self._pid == os.getpid()

    def _stopped_state(self) -> RunState:
        killed = self._flusher is not None and self._flusher.directive.action == "kill"
        return RunState.KILLED if killed else RunState.STOPPED

    def _error_state(self) -> RunState:
        return RunState.PREEMPTED if self._preempting else RunState.FAILED

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_with(exception)

    # ---- inside

    def _record(self, kind: str, body: Mapping[str, Any]) -> Any:
        if self._journal is None:
            return body
        self._write_waiting()
        body = self._journal.append(kind, time.time(), body)
        if self._flusher is not None and not self._quiet:
            self._flusher.wake()
        return body

    def _write_waiting(self, *, wait: bool = True) -> None:
        """Bring what `log_later` kept to the journal; without `wait` not where another thread writes."""
        if self._journal is not None and self._lock.acquire(blocking=wait):
            try:
                self._waiting.write(self._journal, self._summarizer)
            finally:
                self._lock.release()

    @property
    def judged(self) -> bool:
        """Whether an agent that lives stands by to say how this process ended."""
        return self._judged and agent_lives()

    @property
    def inherited(self) -> bool:
        """Whether this process was forked from the one that attached to the run."""
        return self._pid != os.getpid()

    def record_start(self, body: Mapping[str, Any]) -> None:
        """Note that this process joins, and with what config."""
        self._record("start", body)
        self._record("config", self.config.as_dict())

    def record_config(self, config: Mapping[str, Any]) -> None:
        """Note the whole config after a change of it."""
        with self._lock:
            if not self.ended:
                self._record("config", config)

    def _change_summary(self, body: Mapping[str, Any]) -> None:
        with self._lock:
            self._check_open("summary")
            self._summarizer.change(self._record("summary", jsonable(body)))

    def _check_open(self, verb: str) -> None:
        if self.ended:
            raise StateError(
                f"run {self.id} has ended, so {verb} has nowhere to go; call besom.init() for another run"
            )

    def _refuse_step(self, step: int) -> None:
        if step > LAST_STEP:
            raise UsageError(f"log(step={step}): a step is at most 2**63 - 1")
        if not self._warned_of_step:
            self._warned_of_step = True
            logger.warning("log(step=%d) is ignored: the run is at step %d (said once)", step, self.floor)

    def after_fork_in_child(self) -> None:
        """Make the run safe in a forked child: it may log, but not deliver or end its parent's run."""
        self._lock = threading.RLock()
        self._waiting.forget()
        self._flusher = self._asker = None  # its thread is not here, and what that locked stays locked
        if self._journal is not None:
            self._journal.reopen()
