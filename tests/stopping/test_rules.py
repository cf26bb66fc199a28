from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from besom.records import HistoryRow, Metric
from besom.stopping import Stopper, Track
from besom.stopping.asha import Asha
from besom.stopping.median import Median
from besom.stopping.patience import Patience
from besom.stopping.threshold import Threshold
from besom.stopping.wilcoxon import EXACT, Wilcoxon, p_worse
from besom.stopping.words import Words
from besom.testing.stoppers import Trial

LAW = settings(deadline=None)


def trial(stopper: Stopper, curves: Mapping[str, Sequence[float]], *, min_delta: float = 0.0) -> Trial:
    played = Trial(lambda: stopper, min_delta=min_delta)
    for run_id, curve in curves.items():
        for loss in curve:
            played.report(run_id, loss)
    return played


# ---- asha


@LAW
@given(
    losses=st.lists(st.floats(-100, 100), min_size=1, max_size=60, unique=True),
    eta=st.sampled_from([1.5, 2, 3, 4]),
)
def test_asha_keeps_the_best_part_of_those_that_reached_a_rung(losses: list[float], eta: float) -> None:
    played = trial(Asha((1,), eta), {str(number): [loss] for number, loss in enumerate(losses)})
    kept = {loss for number, loss in enumerate(losses) if not played.judge(str(number)).stop}
    assert kept == set(sorted(losses)[: math.ceil(len(losses) / eta)])


def test_asha_judges_by_the_last_rung_passed_and_not_by_what_came_after() -> None:
    played = trial(Asha((2, 4), 2), {"a": [9, 1, 9], "b": [9, 2, 0], "c": [9, 3]})
    assert [run for run in "abc" if played.judge(run).stop] == ["c"]


def test_asha_holds_a_run_that_passed_early_against_those_that_came_later() -> None:
    played = Trial(lambda: Asha((1,), 2))
    assert not played.report("early", 5.0).stop
    played.report("later", 1.0)
    assert played.report("early", 0.0).stop


def test_asha_stops_nobody_before_enough_runs_have_reached_a_rung() -> None:
    played = trial(Asha((1,), 2, min_runs=3), {"a": [1], "b": [2]})
    assert not played.judge("b").stop
    played.report("c", 3)
    assert played.judge("b").stop is False
    assert played.judge("c").stop


def test_asha_gives_rank_and_threshold_as_the_metric_was_logged() -> None:
    stopper = Asha((1,), 2, words=Words("accuracy", "maximize", "epoch"))
    played = trial(stopper, {"a": [-0.9], "b": [-0.5]})
    assert played.judge("b").reason == (
        "asha: accuracy 0.5 at epoch 1 is not among the best of 2 runs (threshold 0.9, eta 2)"
    )


# ---- median


@LAW
@given(losses=st.lists(st.integers(-50, 50), min_size=2, max_size=30))
def test_the_median_is_that_of_the_others(losses: list[int]) -> None:
    played = trial(Median(min_runs=1), {str(number): [loss] for number, loss in enumerate(losses)})
    for number, loss in enumerate(losses):
        others = sorted(losses[:number] + losses[number + 1 :])
        median = (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2
        assert played.judge(str(number)).stop == (loss > median)


def test_median_waits_for_enough_others() -> None:
    curves = {str(number): [float(number)] for number in range(5)}
    assert not trial(Median(min_runs=5), curves).judge("4").stop
    assert trial(Median(min_runs=4), curves).judge("4").stop


def test_median_forgives_a_bad_value_after_a_good_one() -> None:
    curves = {"a": [1, 1], "b": [2, 2], "c": [0, 9]}
    assert not trial(Median(min_runs=1), curves).judge("c").stop


@pytest.mark.parametrize(
    ("stopper", "rungs"),
    [
        (Median(), [*range(1, 17), *range(18, 33, 2), 36, 40]),
        (Median(min_iter=20), [20, *range(22, 33, 2), 36, 40]),
        (Median(min_iter=5, interval=10), [5, 15, 25, 35]),
    ],
)
def test_median_leaves_few_marks(stopper: Median, rungs: list[int]) -> None:
    assert sorted(trial(stopper, {"a": [1.0] * 40}).marks) == rungs


def test_a_long_run_leaves_some_ninety_marks_for_the_median() -> None:
    assert len(trial(Median(), {"a": [1.0] * 10_000}).marks) < 100


# ---- wilcoxon


def by_counting(differences: Sequence[float]) -> float:
    """Give the one-sided p-value by trying every choice of signs; needs sizes that differ."""
    ranks = {size: rank for rank, size in enumerate(sorted(map(abs, differences)), start=1)}
    observed = sum(ranks[abs(d)] for d in differences if d > 0)
    choices = itertools.product((0, 1), repeat=len(differences))
    sums = [sum(r for r, sign in zip(ranks.values(), signs, strict=True) if sign) for signs in choices]
    return sum(total >= observed for total in sums) / len(sums)


@LAW
@given(st.lists(st.integers(-99, 99).filter(bool), min_size=1, max_size=9, unique_by=abs))
def test_the_p_value_is_the_share_of_sign_choices_that_are_as_bad(differences: list[int]) -> None:
    assert p_worse(differences) == pytest.approx(by_counting(differences))


def test_p_values_known_from_tables() -> None:
    assert p_worse([1, 2, 3, 4, 5]) == 1 / 32
    assert p_worse([1, 1, 1, 1, 1]) == 1 / 32
    assert p_worse([0, 0, 0]) == 1.0
    assert p_worse([0, 1, 2]) == 1 / 4


def test_the_normal_approximation_takes_over_smoothly() -> None:
    differences = [(-1.0) ** number * number for number in range(1, EXACT + 1)]
    assert p_worse(differences) == pytest.approx(p_worse([*differences, 0.5]), abs=0.02)


def test_wilcoxon_stops_a_run_that_is_worse_on_nearly_every_fold() -> None:
    best = [1.0, 1.2, 0.9, 1.1, 1.0]
    played = trial(
        Wilcoxon(p=0.05), {"best": best, "worse": [loss + 0.1 * i for i, loss in enumerate(best, 1)]}
    )
    verdict = played.judge("worse")
    assert verdict.stop
    assert "significantly worse than the best run's 1.04 (p 0.031, limit 0.05)" in verdict.reason
    assert not played.judge("best").stop


def test_wilcoxon_keeps_a_run_that_is_worse_on_one_fold_only() -> None:
    played = trial(Wilcoxon(), {"best": [1, 1, 1, 1, 1], "other": [1, 1, 1, 1, 9]})
    assert not played.judge("other").stop


# ---- patience


def stops_at(stopper: Stopper, curve: Sequence[float], *, min_delta: float = 0.0) -> int | None:
    return Trial(lambda: stopper, min_delta=min_delta).run({"run": curve}).get("run")


def test_patience_ends_a_run_that_no_longer_gets_better() -> None:
    assert stops_at(Patience(3), [5, 4, 4, 4, 4, 4]) == 5
    assert stops_at(Patience(3), [5, 4, 4, 4, 3, 4, 4]) is None
    assert stops_at(Patience(3), list(range(50, 0, -1))) is None


def test_patience_does_not_count_what_is_smaller_than_min_delta_but_adds_it_up() -> None:
    slowly = [1 - 0.01 * number for number in range(20)]
    assert stops_at(Patience(3, min_delta=0.5), slowly, min_delta=0.5) == 4
    assert stops_at(Patience(4, min_delta=0.025), slowly, min_delta=0.025) is None


def test_patience_begins_with_min_iter() -> None:
    assert stops_at(Patience(2, min_iter=5), [1] * 20) == 7


def test_patience_says_since_when() -> None:
    played = trial(Patience(2, words=Words("acc", "maximize", "epoch")), {"a": [-3, -2, -1]})
    assert played.judge("a").reason == (
        "patience: acc 1 at epoch 3; it last got better at epoch 1 (best 3), and its patience of 2 is over"
    )


# ---- threshold


@pytest.mark.parametrize(
    ("stopper", "curve", "stopped"),
    [
        (Threshold(upper=10), [1, 10, 11], 3),
        (Threshold(lower=0), [1, 0, -1], 3),
        (Threshold(lower=0, upper=10), [1, 2, 3], None),
        (Threshold(upper=10, min_iter=3), [11, 11, 11], 3),
        (Threshold(upper=10, words=Words(goal="maximize")), [-9, -11], 2),
        (Threshold(lower=0.2, min_iter=2, words=Words(goal="maximize")), [-0.1, -0.3, -0.1], 3),
    ],
)
def test_threshold_ends_a_run_out_of_bounds(
    stopper: Threshold, curve: list[float], stopped: int | None
) -> None:
    assert stops_at(stopper, curve) == stopped


# ---- the resource axis


def points(track: Track, rows: Sequence[Mapping[str, object]]) -> list[tuple[float, float]]:
    made = [track.point(HistoryRow(n, n - 1, 0.0, row)) for n, row in enumerate(rows, start=1)]
    return [(point.since, point.resource) for point in made if point is not None]


def test_the_resource_counts_finite_values_unless_the_sweep_says_else() -> None:
    rows: list[dict[str, object]] = [{"loss": 1.0}, {"loss": "NaN"}, {"other": 1}, {"loss": 2.0}]
    assert points(Track("r", Metric("loss")), rows) == [(0, 1), (1, 2)]


def test_the_resource_may_be_the_step() -> None:
    rows: list[dict[str, object]] = [{"loss": 1.0}, {"other": 1}, {"loss": 2.0}]
    assert points(Track("r", Metric("loss"), "step"), rows) == [(0, 0), (0, 2)]


def test_the_resource_may_be_a_key_logged_beside_or_before_the_metric() -> None:
    rows: list[dict[str, object]] = [
        {"loss": 9.0},
        {"epoch": 1},
        {"loss": 1.0},
        {"loss": 2.0, "epoch": 2.5},
        {"loss": 2.0, "epoch": 9},
    ]
    assert points(Track("r", Metric("loss"), "epoch"), rows) == [(0, 1), (1, 2.5), (2.5, 9)]


def test_a_resource_that_falls_back_passes_no_rung_twice() -> None:
    track = Track("r", Metric("loss"), "epoch")
    rows: list[dict[str, object]] = [{"loss": 1.0, "epoch": epoch} for epoch in (1, 5, 2, 6)]
    assert points(track, rows) == [(0, 1), (1, 5), (5, 2), (5, 6)]


@pytest.mark.parametrize("make", [lambda: Asha((1, 4, 16), 4), lambda: Median(interval=5)])
def test_a_leap_passes_every_rung_on_its_way(make: Callable[[], Stopper]) -> None:
    point = Track("r", Metric("loss"), "epoch").point(HistoryRow(1, 0, 0.0, {"loss": 1.0, "epoch": 20}))
    assert point is not None
    rungs = [rung for rung, _ in make().marks(point)]
    assert sorted(rungs) in ([1, 4, 16], [1, 6, 11, 16])
