"""Early termination: whether a running run is worth going on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from besom.plugins import load_plugin
from besom.stopping.base import Board, Point, Stopper, Verdict
from besom.stopping.track import Track

if TYPE_CHECKING:
    from besom.records import Lease
    from besom.stopping.judge import Judge
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig

__all__ = [
    "Board",
    "Point",
    "Stopper",
    "Track",
    "Verdict",
    "create_judge",
    "create_stopper",
    "create_track",
]


def create_stopper(config: SweepConfig) -> Stopper | None:
    """Give the stopper that `early_terminate` names; None if the sweep has none, or no metric to judge by."""
    if not config.early_terminate or config.metric is None:
        return None
    return cast("Stopper", load_plugin("besom.stoppers", str(config.early_terminate["type"]))(config))


def create_track(config: SweepConfig, run_id: str) -> Track:
    """Give what follows one run's metric, along the resource axis that `early_terminate` names."""
    if config.metric is None:
        raise ValueError("a sweep without a metric has nothing to follow")
    settings = config.early_terminate or config.settings
    return Track(run_id, config.metric, settings.get("resource"), settings.get("min_delta") or 0.0)


def create_judge(store: Store, lease: Lease, sweep_id: str, config: SweepConfig) -> Judge | None:
    """Give what puts an attempt's reports before the sweep's stopper; None if the sweep has none."""
    from besom.stopping.judge import Judge

    if "interval" in config.settings and config.method == "pbt" and config.metric is not None:
        from besom.stopping.interval import create_interval

        stopper: Stopper | None = create_interval(config, store.get_run(lease.run_id))
    else:
        stopper = create_stopper(config)
    if stopper is None:
        return None
    return Judge(store, lease, sweep_id, stopper, create_track(config, lease.run_id))
