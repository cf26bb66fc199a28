"""What SweepCallback does, whichever import root its base class comes from."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Mapping
from typing import Any, cast

from besom.errors import BesomError, UsageError
from besom.run import LiveRun
from besom.run.outcome import failure_text
from besom_lightning.checkpoints import (
    PREEMPTED,
    keep_in_run_folder,
    own_settings,
    restore_settings,
    saved,
)
from besom_lightning.joining import find_run, keeps, leave_gloo_at_exit
from besom_lightning.logger import SweepLogging
from besom_lightning.reports import OURS, Axis, Fresh, MetricNotFoundError, not_found, of_training, value_of
from besom_lightning.roots import ROOTS
from besom_lightning.traveling import Traveler

logger = logging.getLogger(__name__)

STOPPED = f"{OURS}stopped"
"""Is 1 in `trainer.callback_metrics` once the run was stopped, in the program's main process, too."""

_SIGTERM_STATUS = 128 + signal.SIGTERM


class SweepHooks(Traveler):
    """Makes a Trainer report to its run's sweep, and end when the sweep says so.

    After each validation, and at the end of each epoch, the new metrics are reported at `global_step`, with
    the epoch. `monitor` names the metric that the sweep optimizes where the program calls it otherwise.
    Outside of a run it does nothing.
    """

    _LOCAL = frozenset({"_run", "_axis", "_fresh", "_settings", "_joined", "_on", "_training"})

    def __init__(self, monitor: str | None = None) -> None:
        self.monitor = monitor
        self.stop_reason = ""
        """Why the run was stopped; "" while it was not. Known on every rank."""
        self._clear()

    def _clear(self) -> None:
        self._run: LiveRun | None = None
        self._joined = False  # the ranks of this Trainer work for a run
        self._on = False  # this is a fit to be reported
        self._wanted: str | None = None
        self._axis: Axis | None = None
        self._fresh = Fresh()
        self._validated = False  # so a metric that is not there by the end of the epoch never will be
        self._found = False
        self._training = False
        self._failed = False
        self._noted: set[str] = set()  # checkpoints
        self._own_logger = False
        self._loaded: dict[str, Any] = {}
        self._settings: list[list[dict[str, Any]]] | None = None
        self._handed: dict[str, str] = {}

    # ---- what others may ask

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped, also asked in the main process after a spawn or notebook strategy."""
        if self.stop_reason:
            return True
        run = find_run()
        return run is not None and run.told_to_stop

    # ---- the beginning of a fit

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Join the run, on every rank the same one with the same parameters."""
        if str(getattr(stage, "value", stage)) != "fit" or trainer.fast_dev_run:
            self._on = self._joined = False
            return
        run = find_run(self._handed)
        if run is not None and run.ended:
            run = None
        self._joined = self._agree(trainer, run)
        self._run = run if self._joined else None
        if self._run is None:
            return
        keep_in_run_folder(trainer, self._run)
        if self._axis is None or self._axis.run is not self._run:
            self._axis = Axis(self._run)
        self._own_logger = False
        for found in trainer.loggers:
            if isinstance(found, SweepLogging):
                found.follow(trainer, self._axis)
                self._own_logger = True
        self._leave_out_hooks()

    def _leave_out_hooks(self) -> None:
        """Take away the hooks of every batch that do nothing; they would be half of what besom costs a step.

        Lightning calls a callback's hook where it can be called. One that a subclass has stays.
        """
        for name in _BATCH_HOOKS:
            vars(self).pop(name, None)
            own = name == "on_train_batch_start" and not self._own_logger
            if not own and getattr(type(self), name) in _idle(name):
                setattr(self, name, None)

    def _agree(self, trainer: Any, run: LiveRun | None) -> bool:
        """Say whether rank 0 has a run; UsageError on all ranks if not all have its parameters."""
        mine = None if run is None else (run.id, run.sweep_id, _digest(run.params))
        if trainer.world_size == 1:
            return mine is not None
        first = trainer.strategy.broadcast(mine, src=0)
        if first is None:
            return False
        # Outside a sweep the other ranks have no run of their own, and no parameters to differ in.
        same = mine == first or not first[1]
        if not trainer.strategy.reduce_boolean_decision(same, all=True):
            told = "the same" if same else f"others ({mine})"
            raise UsageError(
                f"the ranks of this Trainer do not have the same run with the same parameters: rank 0 has "
                f"{first}, rank {trainer.global_rank} has {told}. The variables BESOM_* of rank 0 must reach "
                "the processes on every node before the model is made"
            )
        return True

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to report; what is among the metrics now is of an earlier fit."""
        run = self._run
        self._on = self._joined
        if not self._on:
            return
        self.stop_reason = ""
        trainer.callback_metrics.pop(STOPPED, None)
        self._validated = self._training = False
        self._wanted = self.monitor
        if run is not None and run.metric is not None:
            self._wanted = self.monitor or run.metric.name
        if run is not None:
            if self._failed and trainer.is_global_zero:
                run.note_error(None)
            self._failed = False
            if self._loaded.get("run_id", run.id) != run.id:
                self._settings = own_settings(trainer.optimizers)
        if trainer.world_size > 1:
            leave_gloo_at_exit()
        _forward_sigusr1()

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        """Undo what a checkpoint of another run has set before anything is computed."""
        self._restore_settings(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin at the step that the checkpoint says."""
        if not self._on:
            return
        self._restore_settings(trainer)
        self._training = True
        self._fresh.forget(trainer.callback_metrics)
        if self._axis is not None:
            self._axis.begin(trainer.global_step)

    def _restore_settings(self, trainer: Any) -> None:
        if self._settings is not None:
            restore_settings(trainer, self._settings)
            self._settings = None

    # ---- reports

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what was validated, and learn whether to go on."""
        if self._reports(trainer) and not trainer.sanity_checking:
            self._validated = True
            later = _overrides(pl_module, "on_train_epoch_end") or self._wanted in of_training(trainer)
            self._report(trainer, may_be_later=later, leave=of_training(trainer))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what there is only now: means over the epoch."""
        if self._reports(trainer):
            later = _overrides(pl_module, "on_train_epoch_end") or self._to_come(trainer)
            self._report(trainer, may_be_later=later)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Report what the module has logged at the end of the epoch before."""
        if self._reports(trainer) and self._training and trainer.global_step > 0:
            self._report(trainer, may_be_later=self._to_come(trainer))

    def _to_come(self, trainer: Any) -> bool:
        """Say whether a first validation is still to come."""
        return not self._validated and bool(trainer.enable_validation)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note the checkpoint that was saved after the last batch."""
        if self._on and not self._own_logger:
            self._note_checkpoints(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what was logged last, and note the last checkpoint."""
        if self._reports(trainer):
            self._report(trainer, may_be_later=self._to_come(trainer))
            self._note_checkpoints(trainer)

    def _reports(self, trainer: Any) -> bool:
        return self._on and str(getattr(trainer.state.fn, "value", trainer.state.fn)) == "fit"

    def _report(self, trainer: Any, *, may_be_later: bool, leave: Collection[str] = ()) -> None:
        """Log the new metrics on rank 0, but those to `leave`; all ranks do what it learns from that."""
        verdict = ("go", "")
        if trainer.is_global_zero and self._run is not None:
            new = self._fresh.take(trainer.callback_metrics, leave)
            verdict = self._told(trainer, new, may_be_later)
        if trainer.world_size > 1:
            verdict = trainer.strategy.broadcast(verdict, src=0)
        word, what = verdict
        if word == "missing":
            raise MetricNotFoundError(what)
        if word == "stop" and not self.stop_reason:
            self._stop(trainer, what)

    def _told(self, trainer: Any, new: dict[str, float], may_be_later: bool) -> tuple[str, str]:
        run, axis = self._run, self._axis
        assert run is not None
        assert axis is not None
        row: dict[str, Any] = dict(new)
        if self._wanted is not None:
            value = value_of(self._wanted, new)
            if value is not None:
                self._found = True
                name = run.metric.name if run.metric is not None else self._wanted
                if value_of(name, new) is None:
                    row[name] = value  # the sweep's name for it
            elif not self._found and not may_be_later:
                return "missing", not_found(self._wanted, trainer.callback_metrics)
        report = axis.new(trainer.global_step, {"epoch": trainer.current_epoch, **row})
        if report is None and not new:
            return "go", ""
        reason = run.ask_stop() if report is None else run.ask_stop(*report)
        return ("go", "") if reason is None else ("stop", reason)

    def _stop(self, trainer: Any, reason: str) -> None:
        """Let the Trainer end as it does by itself: with its checkpoint, and no exception."""
        torch: Any = importlib.import_module("torch")
        self.stop_reason = reason
        trainer.should_stop = True
        trainer.fit_loop.min_epochs = 0
        trainer.fit_loop.epoch_loop.min_steps = None
        trainer.callback_metrics[STOPPED] = torch.tensor(1.0)
        if trainer.is_global_zero:
            logger.info("the run stops: %s", reason)

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint must tell: whose it is."""
        return {"run_id": self._run.id} if self._run is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Learn whose checkpoint it is that the fit goes on from."""
        self._loaded = dict(state_dict)

    def _note_checkpoints(self, trainer: Any) -> None:
        if self._run is None or not trainer.is_global_zero:
            return
        for path in saved(trainer):
            if str(path) not in self._noted:
                self._noted.add(str(path))
                self._run.save_checkpoint(path)

    # ---- the end

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Stop reporting; the run stays open for what the program does next."""
        self._on = False

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Note why the run fails, or save what it goes on from when it has to leave."""
        # What a worker of a spawn or notebook strategy raises, Lightning tells only in the main process.
        worker = getattr(exception, "error_index", None)
        run = self._run if worker is None else find_run()
        if run is None or run.ended:
            return
        self._on = False
        if _is_sigterm(exception):
            self._leave(trainer, run, cast("SystemExit", exception))
        elif isinstance(exception, Exception):
            self._failed = True
            try:
                rank = trainer.global_rank if worker is None else worker
                run.note_error(failure_text(exception, f"on rank {rank}:" if rank else ""))
            except (BesomError, OSError) as error:
                logger.warning("run %s: why it fails could not be noted: %s", run.id, error)

    def _leave(self, trainer: Any, run: LiveRun, exception: SystemExit) -> None:
        exception.code = exception.code or _SIGTERM_STATUS  # Lightning's is 0, as if all had been done
        if self._training:
            path = run.dir / "checkpoints" / PREEMPTED
            try:
                trainer.save_checkpoint(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, the checkpoint before this one is there
                logger.warning("run %s: no checkpoint could be saved at SIGTERM: %s", run.id, error)
            else:
                if trainer.is_global_zero:
                    run.save_checkpoint(path)
        if trainer.is_global_zero and keeps(run) and not run.should_stop:
            run.mark_preempting()


_BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


def _idle(hook: str) -> list[Any]:
    """Give the functions of a hook that do nothing for a fit: Lightning's, and what stands here."""
    roots = [sys.modules[root].Callback for root in ROOTS if root in sys.modules]
    return [getattr(kind, hook) for kind in (*roots, SweepHooks) if hasattr(kind, hook)]


def _digest(params: Mapping[str, Any]) -> str:
    text = json.dumps(params, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_sigterm(exception: BaseException) -> bool:
    """Say whether it is what Lightning makes of SIGTERM, whichever import root it comes from."""
    return isinstance(exception, SystemExit) and type(exception).__name__ == "SIGTERMException"


def _overrides(module: Any, hook: str) -> bool:
    kind: Any = module.__class__
    base: Any = next((base for base in kind.__mro__ if base.__name__ == "LightningModule"), kind)
    return getattr(kind, hook) is not getattr(base, hook)


def _forward_sigusr1() -> None:
    """Take SLURM's warning before the end of a job for what it is: a request to leave."""
    if (
        "SLURM_JOB_ID" in os.environ
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    ):
        # Lightning has noted how signals were handled before, and restores that itself.
        signal.signal(signal.SIGUSR1, _ask_to_leave)


def _ask_to_leave(number: int, frame: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
