from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.errors import NotFoundError, SweepFileError, UsageError
from besom.stopping import Stopper, create_stopper
from besom.stopping.hyperband import Hyperband, create_hyperband
from besom.sweepfile import SweepConfig, from_mapping
from besom.testing.stoppers import StopperContract, Trial


def config(goal: str = "minimize", **early_terminate: Any) -> SweepConfig:
    return from_mapping(
        {
            "method": "grid",
            "metric": {"name": "loss", "goal": goal},
            "early_terminate": {"type": "hyperband", **early_terminate},
            "parameters": {"a": {"values": [1, 2, 3]}},
        }
    )


def hyperband(goal: str = "minimize", **early_terminate: Any) -> Hyperband:
    return create_hyperband(config(goal, **early_terminate))


class TestStrictHyperband(StopperContract):
    def stopper(self) -> Stopper:
        return Hyperband(bands=(2, 4, 8, 16, 32), eta=2, strict=True)


class TestRelaxedHyperband(StopperContract):
    def stopper(self) -> Stopper:
        return Hyperband(bands=(1, 3, 9, 27), eta=3, strict=False)


@pytest.mark.parametrize(
    ("settings", "bands"),
    [
        ({"min_iter": 3}, (3, 9, 27)),
        ({"min_iter": 3, "eta": 3}, (3, 9, 27)),
        ({"min_iter": 30, "eta": 1.5}, (30, 45, 67)),
        ({"min_iter": 1, "eta": 1.5}, (1, 2, 3)),  # 1, 1.5, 2.25, 3.375: equal bands are one
        ({"max_iter": 81, "eta": 3, "s": 3}, (3, 9, 27)),
        ({"max_iter": 18, "eta": 3, "s": 2}, (2, 6)),
        ({"max_iter": 5, "eta": 2, "s": 2}, (1, 2)),
        ({"max_iter": 9, "s": 5}, (1, 3)),  # fewer than s: none is below 1
        ({"max_iter": 27, "s": 2.0}, (3, 9)),
    ],
)
def test_bands_are_those_of_wandb(settings: Mapping[str, Any], bands: tuple[int, ...]) -> None:
    assert hyperband(**settings).bands[: len(bands)] == bands


def test_bands_from_above_end_with_s_and_those_from_below_with_what_a_run_can_report() -> None:
    assert hyperband(max_iter=81, s=2).bands == (9, 27)
    assert len(hyperband(min_iter=1, eta=1.1).bands) < 100
    assert max(hyperband(min_iter=7, eta=1e200).bands) == 7


def test_settings_that_leave_no_band_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"max_iter \(2\) divided by eta \(3\) is below 1; raise max_iter"):
        hyperband(max_iter=2, s=3)


def test_strict_is_the_default() -> None:
    assert hyperband(min_iter=3).strict
    assert not hyperband(min_iter=3, strict=False).strict


def judged(stopper: Hyperband, curves: Mapping[str, Sequence[float]]) -> set[str]:
    """Give whom W&B would stop if it looked once, now: all have reported, none was judged before."""
    trial = Trial(lambda: stopper)
    sign = 1 if stopper.goal == "minimize" else -1
    for run_id, curve in curves.items():
        for value in curve:
            trial.report(run_id, sign * value)
    return {run_id for run_id in curves if trial.judge(run_id).stop}


TWO_BANDS = {"a": [10, 9], "b": [10, 10], "c": [10, 8, 8], "d": [10, 7, 7], "e": [10, 6, 6]}
THREE_AND_NINE = {"a": [9, 8], "b": [11, 11], "c": [10, 8, 3], "d": [10, 7, 4], "e": [10, 6, 6]}


@pytest.mark.parametrize(
    ("stopper", "curves", "stopped"),
    [
        # Bands 1 and 2; at 2 the five have 9 10 8 7 6, the threshold is the third: 8.
        (hyperband(max_iter=5, eta=2, s=2), TWO_BANDS, {"a", "b"}),
        # a and b have only reached band 1, where the threshold is 10; at 2 it is the second of 8 7 6.
        (hyperband(max_iter=5, eta=2, s=2), {**TWO_BANDS, "a": [10], "b": [11]}, {"b", "c"}),
        # Bands 1 and 3, thresholds 10 and 4; c was late at 1 and leads at 3.
        (hyperband(max_iter=9, eta=3, s=2, strict=False), THREE_AND_NINE, {"b", "e"}),
        (
            hyperband("maximize", max_iter=9, eta=3, s=2, strict=False),
            {name: [-value for value in curve] for name, curve in THREE_AND_NINE.items()},
            {"b", "e"},
        ),
        (hyperband(max_iter=18, eta=3, s=2, strict=False), {"a": list(range(10, 0, -1))}, set[str]()),
        (hyperband(min_iter=3), {"a": [10] * 4, "b": list(range(10, 0, -1))}, {"a"}),
        (hyperband("maximize", min_iter=3), {"a": [10] * 4, "b": list(range(10, 20))}, {"a"}),
        (hyperband(min_iter=3), {"a": [10] * 2, "b": list(range(10, 0, -1))}, set[str]()),
    ],
)
def test_those_are_stopped_that_wandb_stops(
    stopper: Hyperband, curves: Mapping[str, Sequence[float]], stopped: set[str]
) -> None:
    assert judged(stopper, curves) == stopped


def test_strict_looks_at_the_band_and_relaxed_at_the_best_so_far() -> None:
    curves = {"a": [1, 5, 9], "b": [2, 4], "c": [3, 3]}
    assert judged(Hyperband(bands=(2,), eta=3, strict=True), curves) == {"a"}
    assert judged(Hyperband(bands=(2,), eta=3, strict=False), curves) == set()


def test_a_run_that_passed_is_stopped_once_better_ones_have_come() -> None:
    trial = Trial(lambda: Hyperband(bands=(1,), eta=2, strict=True))
    assert not trial.report("early", 5.0).stop
    for number in range(3):
        trial.report(f"better-{number}", 1.0)
    assert trial.report("early", 4.0).stop


def test_a_run_that_passed_a_band_before_the_stopper_came_goes_on() -> None:
    stopper = Hyperband(bands=(2,), eta=2, strict=True)
    trial = Trial(lambda: stopper)
    trial.run({"a": [1, 1], "b": [2, 2]})
    del trial.marks[2]["b"]
    assert not trial.judge("b").stop


def test_the_reason_speaks_of_the_metric_as_it_was_logged() -> None:
    trial = Trial(lambda: hyperband("maximize", min_iter=1, eta=2))
    trial.run({"a": [-0.9], "b": [-0.8], "c": [-0.1]})
    reason = trial.judge("c").reason
    assert "loss 0.1" in reason
    assert "worse than the threshold 0.8 of 3 runs" in reason


@settings(deadline=None)
@given(
    losses=st.lists(st.floats(-100, 100), min_size=1, max_size=60, unique=True),
    eta=st.sampled_from([1.5, 2, 3, 4]),
)
def test_of_runs_that_wait_for_each_other_one_in_eta_goes_on(losses: list[float], eta: float) -> None:
    curves = {str(number): [loss] for number, loss in enumerate(losses)}
    stopped = judged(Hyperband(bands=(1,), eta=eta, strict=True), curves)
    best = sorted(losses)[: int(1.0 / eta * len(losses)) + 1]
    assert {losses[int(run_id)] for run_id in curves.keys() - stopped} == set(best)


def test_a_sweep_without_early_terminate_or_metric_has_no_stopper() -> None:
    plain = {"method": "grid", "parameters": {"a": {"values": [1]}}}
    assert create_stopper(from_mapping(plain)) is None
    assert isinstance(create_stopper(config(min_iter=2)), Hyperband)


def test_an_unknown_stopper_is_refused() -> None:
    with pytest.raises((SweepFileError, NotFoundError), match="hyperband"):
        create_stopper(
            from_mapping(
                {
                    "method": "grid",
                    "metric": {"name": "loss"},
                    "early_terminate": {"type": "hyperbend", "min_iter": 1},
                    "parameters": {"a": {"values": [1]}},
                }
            )
        )
