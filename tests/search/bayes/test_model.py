from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize as scipy_optimize

from besom.search.bayes.acquisition import CAUTION, Acquisition, Trust, improvement, log_improvement
from besom.search.bayes.encoding import Axis, Domain, Parent
from besom.search.bayes.gp import Likelihood, Posterior, Priors, fit
from besom.search.bayes.kernel import squared_distances
from besom.search.bayes.model import Evidence, acquisition, choose, fit_models
from besom.search.bayes.outputs import TAILS, standardize
from besom.search.bayes.propose import Effort, Search, candidates, maximize
from besom.search.bayes.region import FIRST, LARGEST, Box, region, side_length

optimize: Any = scipy_optimize

MIXED = Domain(
    (
        Axis(),
        Axis(places=(np.arange(5) + 0.5) / 5),
        Axis(categories=3),
        Axis(parents=(Parent(2, (1,)),)),
        Axis(parents=(Parent(0, None, 0.2, 0.7),)),
    )
)


def some_points(count: int, seed: int = 0) -> Any:
    return MIXED.settle(MIXED.draw(np.random.default_rng(seed), count))


def slope(function: Any, at: Any) -> Any:
    return optimize.approx_fprime(at, function, 1e-6)


@pytest.mark.parametrize("warp", [0.0, 0.5])
def test_the_gradient_of_the_likelihood_is_its_slope(warp: float) -> None:
    rng = np.random.default_rng(1)
    features, values = MIXED.features(some_points(15)), rng.normal(size=15)
    likelihood = Likelihood(features, values, MIXED.layout, Priors(warp_sd=warp))
    theta = likelihood.mean + 0.3 * rng.normal(size=len(likelihood.mean))
    gradient = likelihood(theta)[1]

    def value_at(theta: Any) -> Any:
        return likelihood(theta)[0]

    expected = slope(value_at, theta)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(gradient).max()


@pytest.mark.parametrize("best", [-1.5, -5.0])
@pytest.mark.parametrize("warp", [0.0, 0.5])
def test_the_gradient_of_the_acquisition_is_its_slope(warp: float, best: float) -> None:
    rng = np.random.default_rng(2)
    features, values = MIXED.features(some_points(15)), rng.normal(size=15)
    likelihood = Likelihood(features, values, MIXED.layout, Priors(warp_sd=warp))
    hyper = likelihood.hyper(likelihood.mean + 0.3 * rng.normal(size=len(likelihood.mean)))
    metric = Posterior(features, values, MIXED.layout, hyper)
    labels = Posterior(features, np.sign(values), MIXED.layout, hyper)
    target = Acquisition(metric, best, (Trust(labels, 0.2, CAUTION), Trust(labels, -0.3)))
    places = MIXED.features(some_points(4, seed=3))
    value, gradient = target.value_with_slope(places)
    assert np.allclose(value, target.value(places))

    def value_at(place: Any) -> Any:
        return target.value(place[None])[0]

    expected = np.array([slope(value_at, place) for place in places])
    assert np.abs(gradient - expected).max() < 1e-3 * np.abs(gradient).max()


def test_log_improvement_is_right_where_the_plain_formula_is() -> None:
    from statistics import NormalDist

    normal = NormalDist()
    z = np.linspace(-6, 6, 50)
    plain = [np.log(normal.pdf(item) + item * normal.cdf(item)) for item in z]
    assert np.allclose(log_improvement(z), plain, rtol=1e-6)


def test_log_improvement_stays_finite_and_grows_where_the_plain_formula_underflows() -> None:
    z = -np.logspace(7, 0, 2000)
    found = log_improvement(z)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 20.0, 31.0, 900.0, 1100.0, 1e5])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_slope_of_log_improvement_is_right_however_hopeless_or_certain_it_is(
    sign: float, size: float
) -> None:
    z, step = sign * size, 1e-4 * size
    _, chance, density = improvement(np.array([z]))
    below, above = log_improvement(np.array([z - step, z + step]))
    assert np.allclose(chance, (above - below) / (2 * step), rtol=1e-4)
    assert np.allclose(
        density + z * chance, 1.0, rtol=0.0, atol=1e-5 * max(density[0], 1.0)
    )  # h = phi + z Phi


@pytest.mark.parametrize("seed", range(4))
def test_no_single_change_makes_the_point_that_is_found_more_promising(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, none = some_points(15, seed), np.empty((0, 5))
    evidence = Evidence(points, rng.normal(size=15), none, none)
    target = acquisition(MIXED, evidence, fit_models(MIXED, evidence))
    whole = Box(np.zeros(4), np.ones(4))
    starts = candidates(MIXED, points[:3], whole, Effort(), rng)
    rows, worth = maximize(Search(MIXED, target, whole, Effort()), starts)
    changed = np.repeat(rows[:1], 5 + 3 + 60, axis=0)
    changed[:5, 1] = (np.arange(5) + 0.5) / 5
    changed[5:8, 2] = np.arange(3)
    for axis, moved in zip((0, 3, 4), np.split(changed[8:], 3), strict=True):
        moved[:, axis] = np.maximum(np.minimum(moved[:, axis] + np.linspace(-0.02, 0.02, 20), 1.0), 0.0)
    assert target.value(MIXED.features(MIXED.settle(changed))).max() < worth[0] + 1e-3
    assert (np.diff(worth) <= 0).all()


def test_different_categories_are_one_apart_and_inactive_axes_do_not_tell_points_apart() -> None:
    points = np.array([[0.1, 0.1, 0, np.nan, np.nan], [0.1, 0.1, 2, np.nan, np.nan]])
    features = MIXED.features(points)
    assert abs(squared_distances(features, features)[0, 1] - 1.0) < 1e-12


def test_settling_snaps_levels_and_empties_what_is_inactive() -> None:
    rows = np.array([[0.5, 0.47, 1.0, 0.3, 0.4], [0.1, 1.0, 0.0, 0.3, 0.4]])
    expected = np.array([[0.5, 0.5, 1.0, 0.3, 0.4], [0.1, 0.9, 0.0, np.nan, np.nan]])
    assert np.array_equal(MIXED.settle(rows), expected, equal_nan=True)


def test_a_fit_finds_the_axis_that_matters() -> None:
    rng = np.random.default_rng(4)
    x = rng.random((40, 3))
    domain = Domain((Axis(), Axis(), Axis()))
    values, _ = standardize(np.sin(6 * x[:, 1]), 0.0)
    hyper, _ = fit(x, values, domain.layout, Priors())
    assert hyper.metric.scale[1] + 1 < min(hyper.metric.scale[0], hyper.metric.scale[2])


def test_a_posterior_goes_through_noiseless_values_and_is_unsure_far_away() -> None:
    x = np.linspace(0, 1, 8)[:, None]
    domain = Domain((Axis(),))
    values, _ = standardize(np.cos(4 * x[:, 0]), 0.0)
    hyper, _ = fit(x, values, domain.layout, Priors())
    posterior = Posterior(x, values, domain.layout, hyper)
    mean, deviation = posterior.predict(np.vstack([x, [[3.0]]]))
    assert np.allclose(mean[:8], values, atol=0.05)
    assert deviation[8] > 5 * deviation[:8].max()


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    "values",
    [[1.0], [2.0, 2.0, 2.0], [1e6, 1.0, 1e300, -1e300], [0.0, 1e-12], [-1e308, 1e308, 0.0]],
)
def test_any_finite_values_become_standardized_ones(values: list[float], tail: float) -> None:
    found, cost = standardize(np.array(values), tail)
    assert np.isfinite(found).all()
    assert np.isfinite(cost)
    assert abs(found.mean()) < 1e-6
    assert (np.diff(found[np.argsort(values, kind="stable")]) >= 0).all()


def test_a_heavy_tail_is_drawn_in_and_a_plain_one_is_not() -> None:
    rng = np.random.default_rng(5)
    domain = Domain((Axis(), Axis()))
    x = rng.random((40, 2))
    waves = np.sin(5 * x[:, 0]) + np.cos(4 * x[:, 1])
    none = np.empty((0, 2))
    assert fit_models(domain, Evidence(x, waves, none, none)).tail == 0.0
    assert fit_models(domain, Evidence(x, np.exp(5 * waves), none, none)).tail > 0.0


def test_what_is_chosen_of_many_runs_holds_the_best_and_changes_slowly() -> None:
    rng = np.random.default_rng(6)
    points, values, none = rng.random((1000, 2)), rng.random(1000), np.empty((0, 2))
    before = choose(Evidence(points[:990], values[:990], none, none), 100)
    after = choose(Evidence(points, values, none, none), 100)
    assert len(after.values) == 100
    assert set(np.sort(values)[:50]) <= set(after.values)
    assert len(set(before.values) & set(after.values)) > 90


def test_failures_push_the_search_away() -> None:
    domain = Domain((Axis(),))
    good, bad = np.array([[0.1], [0.3], [0.5]]), np.array([[0.7], [0.8], [0.95]])
    values = np.array([3.0, 2.0, 1.0])
    places = np.array([[0.55], [0.85]])
    for failed, wins in ((np.empty((0, 1)), 1), (bad, 0)):
        evidence = Evidence(good, values, failed, np.empty((0, 1)))
        target = acquisition(domain, evidence, fit_models(domain, evidence))
        assert target.value(places).argmax() == wins


def test_runs_under_way_make_their_places_less_promising() -> None:
    domain = Domain((Axis(),))
    points, values, none = np.array([[0.0], [0.4], [1.0]]), np.array([2.0, 1.0, 2.0]), np.empty((0, 1))
    place = np.array([[0.55]])
    free = Evidence(points, values, none, none)
    fitted = fit_models(domain, free)
    before = acquisition(domain, free, fitted).value(place)
    after = acquisition(domain, Evidence(points, values, none, place), fitted).value(place)
    assert after < before - 1


def test_runs_under_way_are_believed_to_end_as_expected_so_the_model_only_grows_surer() -> None:
    rng = np.random.default_rng(7)
    domain = Domain((Axis(), Axis()))
    points, values, none = rng.random((12, 2)), rng.normal(size=12), np.empty((0, 2))
    free = Evidence(points, values, none, none)
    fitted = fit_models(domain, free)
    pending, elsewhere = rng.random((7, 2)), rng.random((50, 2))
    alone = acquisition(domain, free, fitted).posterior
    beside = acquisition(domain, Evidence(points, values, none, pending), fitted).posterior
    (mean, deviation), (same, surer) = alone.predict(elsewhere), beside.predict(elsewhere)
    assert np.allclose(mean, same, atol=1e-6)
    assert (surer < deviation + 1e-9).all()
    assert (beside.predict(pending)[1] < alone.predict(pending)[1]).all()


def test_the_trust_region_grows_with_success_and_shrinks_without() -> None:
    falling, flat = -np.arange(4.0), np.ones(30)
    assert side_length(falling, 10) == LARGEST
    assert side_length(flat, 10) < FIRST


def test_only_spaces_of_many_numbers_have_a_trust_region() -> None:
    few, many = Domain((Axis(),) * 14), Domain((Axis(),) * 15)
    for domain, smaller in ((few, False), (many, True)):
        count = len(domain.axes)
        points = np.full((3, count), 0.5)
        box = region(domain, points, np.array([1.0, 2.0, 3.0]), np.zeros(count))
        assert bool((box.high - box.low < 1).all()) is smaller
