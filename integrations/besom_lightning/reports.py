"""What a Trainer has to report at some moment, and at which step of its run."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from besom.errors import UsageError
from besom.run import LiveRun

OURS = "besom/"
"""How the names begin of what the callback itself leaves among the metrics."""

_SUMMARIES = (".min", ".max", ".mean", ".last", ".best")


class MetricNotFoundError(UsageError):
    """The metric that a sweep judges by is not among those that the program logs."""


@dataclass(slots=True)
class Axis:
    """Where a run stands: by `global_step`, and behind one another for several fits in one process."""

    run: LiveRun
    offset: int = 0
    _at: int = -1
    _said: dict[str, Any] = field(default_factory=dict[str, Any])

    def begin(self, global_step: int) -> None:
        """Place a fit that begins at `global_step`, 0 unless it goes on from a checkpoint."""
        self.offset = max(0, self.run.floor - global_step)

    def new(self, global_step: int, row: Mapping[str, Any]) -> tuple[dict[str, Any], int] | None:
        """Give what of a row is new at this step, and the step of the run; None if nothing is."""
        at = max(self.offset + global_step, self.run.floor)
        new = dict(row)
        if at != self._at:
            self._at, self._said = at, new
        else:
            said = self._said
            for name in row.keys() & said.keys():
                if name != "epoch" and _same(said[name], row[name]):
                    del new[name]
            self._said = said | new  # the dict before may be on its way to the store
        return (new, at) if len(new) > ("epoch" in new) else None


class Fresh:
    """Tells metrics that are new from those that were there before.

    Lightning keeps the latest value of every metric, also those of the fit before and of the learning rate
    finder. A new value is a new tensor, so a tensor that was seen is not reported again.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def forget(self, metrics: Mapping[str, Any]) -> None:
        """Take everything that is there now as seen."""
        self._seen = dict(metrics)

    def take(self, metrics: Mapping[str, Any], leave: Collection[str] = ()) -> dict[str, float]:
        """Give the numbers that are new, and take them as seen; those to `leave` stay as they are."""
        metrics = {name: value for name, value in metrics.items() if name not in leave}
        new = {
            name: number
            for name, value in metrics.items()
            if value is not self._seen.get(name)
            and not name.startswith(OURS)
            and (number := _number(value)) is not None
        }
        self._seen.update(metrics)
        return new


def of_training(trainer: Any) -> set[str]:
    """Give the metrics that training logs and validation does not.

    While a validation ends they hold the value of some batch; that of the epoch is still to come.
    """
    validated = _names(trainer.fit_loop.epoch_loop.val_loop)
    return {name for name in _names(trainer.fit_loop.epoch_loop) if name not in validated}


def _names(loop: Any) -> set[str]:
    results: Mapping[str, Any] = getattr(loop, "_results", None) or {}
    names = {str(result.meta.name) for result in results.values()}
    return {f"{name}{end}" for name in names for end in ("", "_step", "_epoch")}


def value_of(wanted: str, metrics: Mapping[str, float]) -> float | None:
    """Give the metric that a sweep calls `wanted`, which may name a summary of it: "val_loss.min"."""
    found = metrics.get(wanted)
    return metrics.get(logged_name(wanted)) if found is None else found


def logged_name(wanted: str) -> str:
    """Give the name by which the program logs what a sweep calls `wanted`."""
    end = next((end for end in _SUMMARIES if wanted.endswith(end)), "")
    return wanted.removesuffix(end)


def not_found(wanted: str, there: Iterable[str]) -> str:
    """Say that a metric is not there, what is, and which of it may be meant."""
    names = sorted(name for name in there if not name.startswith(OURS))
    if not names:
        return (
            f"the metric {wanted!r} was not logged, nor was any other; log it in validation_step with "
            f"self.log({wanted!r}, value)"
        )
    close = difflib.get_close_matches(logged_name(wanted), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"the metric {wanted!r} was not logged; {hint}There is {', '.join(names)}. Name one of these as the "
        f"sweep's metric or in SweepCallback(monitor=...), or log it with self.log({wanted!r}, value)"
    )


def _same(said: Any, value: Any) -> bool:
    return bool(said == value) or repr(said) == repr(value) == "nan"


def _number(value: Any) -> float | None:
    """Give a metric's number; None for what is no single number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # torch's error for a tensor with many elements
        return None
