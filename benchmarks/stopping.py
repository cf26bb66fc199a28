"""Early termination on generated learning curves: the resource it spends, and what it costs in the end.

Sweeps of 64 runs, 8 at a time, each run 100 reports long unless it is stopped, on the kinds of curves in
`curves.py`. Regret is the true loss of the model that the best reported value points to; the best that any
run could have is 0. It is summed over seeds, divided by that of the same sweep without early termination, and
averaged geometrically over the kinds. Bars: regret within 5 % at no more than 35 % of the resource.

    python -m benchmarks.stopping --plot docs/images/stopping.svg    and draw it

W&B's rule is besom's own `hyperband`, which is held to W&B's answers by the tests. Optuna's pruners see the
same curves in the same order of reports. Peers run as they come, and with the settings that asha has here.
"""

from __future__ import annotations

import argparse
import functools
import math
import random
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.curves import KINDS, LENGTH, Curve, sweep_of
from benchmarks.harness import Figure, main
from besom.stopping.asha import Asha
from besom.stopping.base import Stopper
from besom.stopping.hyperband import Hyperband
from besom.stopping.median import Median
from besom.stopping.rungs import geometric
from besom.testing.stoppers import Trial

WORKERS = 8
REGRET, RESOURCE = 1.05, 35.0  # the bars
FIRST = LENGTH // 8  # what docs/early-termination.md recommends as min_iter


class Rule(Protocol):
    """Decides over the runs of one sweep."""

    def stops(self, run: int, count: int, loss: float) -> bool:
        """Say whether a run that reports its `count`-th loss ends here."""
        ...

    def ended(self, run: int, *, stopped: bool) -> None:
        """Take note that a run has ended."""
        ...


@dataclass(frozen=True)
class Ours:
    """A stopper of besom's, on a board in memory."""

    trial: Trial

    def stops(self, run: int, count: int, loss: float) -> bool:
        """Ask the stopper."""
        del count
        return self.trial.report(str(run), loss).stop

    def ended(self, run: int, *, stopped: bool) -> None:
        """Do nothing: a rung keeps what it has."""


@dataclass(frozen=True)
class Optunas:
    """A pruner of Optuna's, on a study in memory."""

    study: Any
    trials: dict[int, Any] = field(default_factory=dict[int, Any])
    losses: dict[int, float] = field(default_factory=dict[int, float])

    def stops(self, run: int, count: int, loss: float) -> bool:
        """Report to the run's trial and ask it."""
        if run not in self.trials:
            self.trials[run] = self.study.ask()
        self.losses[run] = loss
        self.trials[run].report(loss, count)
        return bool(self.trials[run].should_prune())

    def ended(self, run: int, *, stopped: bool) -> None:
        """Tell the study: pruners learn from ended trials."""
        from optuna.trial import TrialState

        if stopped:
            self.study.tell(self.trials[run], state=TrialState.PRUNED)
        else:
            self.study.tell(self.trials[run], self.losses[run])


def ours(stopper: Stopper) -> Callable[[], Rule]:
    """Give a rule by a stopper of besom's."""
    return lambda: Ours(Trial(lambda: stopper))


def optunas(pruner: str, **settings: Any) -> Callable[[], Rule]:
    """Give a rule by a pruner of Optuna's."""

    def make() -> Rule:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chosen = getattr(optuna.pruners, pruner)(**settings)
        sampler = optuna.samplers.RandomSampler(seed=0)
        # The name decides which bracket of Hyperband a trial is in; unless given, it is random.
        return Optunas(optuna.create_study(study_name="curves", sampler=sampler, pruner=chosen))

    return make


def rungs(first: int, eta: float) -> tuple[int, ...]:
    """Give the rungs before the end of a run."""
    return geometric(first, eta, end=LENGTH - 1)


RULES: dict[str, Callable[[], Rule]] = {
    "asha": ours(Asha(rungs(FIRST, 3), 3)),
    "asha, eta 4": ours(Asha(rungs(FIRST, 4), 4)),
    "median": ours(Median(min_iter=FIRST)),
    "W&B's rule (min_iter 3)": ours(Hyperband(rungs(3, 3), 3, strict=True)),
    "W&B's rule, with asha's rungs": ours(Hyperband(rungs(FIRST, 3), 3, strict=True)),
    "Optuna Hyperband": optunas("HyperbandPruner", max_resource=LENGTH),
    "Optuna SuccessiveHalving": optunas("SuccessiveHalvingPruner"),
    "Optuna SuccessiveHalving, with asha's rungs": optunas(
        "SuccessiveHalvingPruner", min_resource=FIRST, reduction_factor=3
    ),
    "Optuna Median": optunas("MedianPruner"),
    "Optuna Median, with our warmup": optunas("MedianPruner", n_warmup_steps=FIRST),
}


MARKS = dict(zip(RULES, "os^DvsDpX<", strict=True))


@dataclass(frozen=True, slots=True)
class Played:
    """How one sweep ended."""

    regret: float
    spent: float  # share of the resource of the same sweep without early termination


def play(curves: Sequence[Curve], rule: Rule | None, *, workers: int = WORKERS) -> Played:
    """Let `workers` runs report in turn; whoever ends makes room for the next."""
    waiting: Iterator[int] = iter(range(len(curves)))
    active = {run: 0 for _, run in zip(range(workers), waiting, strict=False)}
    reports: dict[int, int] = {}
    while active:
        for run in list(active):
            active[run] += 1
            reports[run] = active[run]
            full = reports[run] == LENGTH
            stop = rule is not None and rule.stops(run, reports[run], curves[run].reported[reports[run] - 1])
            if not (stop or full):
                continue
            if rule is not None:
                rule.ended(run, stopped=not full)
            del active[run]
            if (follower := next(waiting, None)) is not None:
                active[follower] = 0
    best = min(reports, key=lambda run: curves[run].reported[reports[run] - 1])
    return Played(curves[best].true[reports[best] - 1], sum(reports.values()) / LENGTH / len(curves))


@dataclass(frozen=True, slots=True)
class Score:
    """What a rule comes to over all kinds and seeds."""

    regret: float  # relative to no early termination
    low: float  # 90 % interval of the regret, by drawing seeds anew
    high: float
    spent: float
    worst_spent: float  # of one sweep
    worst_kind: str
    worst: float  # relative regret there


@functools.cache
def freely(kind: str, seed: int, workers: int) -> float:
    """Give the regret without early termination."""
    return play(sweep_of(kind, seed), None, workers=workers).regret


def score(make: Callable[[], Rule], seeds: range, *, workers: int = WORKERS) -> Score:
    """Play every kind and seed by a rule."""
    played = {kind: [play(sweep_of(kind, seed), make(), workers=workers) for seed in seeds] for kind in KINDS}
    pairs = {
        kind: [(one.regret, freely(kind, seed, workers)) for one, seed in zip(ones, seeds, strict=True)]
        for kind, ones in played.items()
    }
    spent = [one.spent for ones in played.values() for one in ones]
    kinds = {kind: _ratio(pair) for kind, pair in pairs.items()}
    worst = max(kinds, key=kinds.__getitem__)
    low, high = interval(pairs.values())
    return Score(
        mean_ratio(pairs.values()),
        low,
        high,
        statistics.mean(spent),
        max(spent),
        worst,
        kinds[worst],
    )


def mean_ratio(groups: Iterable[Sequence[tuple[float, float]]]) -> float:
    """Give the geometric mean over groups of the sum of the first over the sum of the second."""
    return statistics.geometric_mean(_ratio(pairs) for pairs in groups)


def interval(groups: Iterable[Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """Give the 90 % interval of `mean_ratio`, by drawing the pairs of every group anew."""
    chance, known = random.Random(1), list(groups)
    drawn = sorted(mean_ratio([chance.choices(one, k=len(one)) for one in known]) for _ in range(400))
    return drawn[20], drawn[380]


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return math.fsum(regret for regret, _ in pairs) / math.fsum(free for _, free in pairs)


def figures(scores: Mapping[str, Score], alone: Score) -> list[Figure]:
    """Turn scores into figures with their bars, which are asha's."""
    found: list[Figure] = []
    for name, score in {**scores, "asha, one run at a time": alone}.items():
        held = name in ("asha", "asha, one run at a time")
        note = f"90 % interval {score.low:.3f} to {score.high:.3f}"
        note += f"; worst kind: {score.worst_kind} {score.worst:.2f}"
        bar = REGRET if held else None
        found.append(Figure(f"{name}: regret", score.regret, "x none", bar, "lower", note))
        note = f"at most {100 * score.worst_spent:.0f} % in one sweep"
        bar = RESOURCE if held else None
        found.append(Figure(f"{name}: resource", 100 * score.spent, "%", bar, "lower", note))
    return found


def draw(scores: Mapping[str, Score], path: Path) -> None:
    """Write an SVG: regret against resource, with the bars; what is low and to the left is good."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "besom"  # the same picture, byte by byte, for the same scores
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4.5))
    for name, score in scores.items():
        color = "#1f77b4" if name.startswith("Optuna") else "#8c8c00" if name.startswith("W&B") else "#d62728"
        spread = [[score.regret - score.low], [score.high - score.regret]]
        axis.errorbar(100 * score.spent, score.regret, spread, fmt=MARKS[name], color=color, label=name)
    axis.axhline(REGRET, color="#777777", linestyle=":", linewidth=1)
    axis.axvline(RESOURCE, color="#777777", linestyle=":", linewidth=1)
    axis.set_xlim(left=0)
    axis.set_xlabel("resource spent, % of that without early termination")
    axis.set_ylabel("regret, without early termination = 1")
    axis.grid(visible=True, alpha=0.2)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plot", type=Path)
    chosen, rest = parser.parse_known_args(arguments)

    def measure(quick: bool) -> list[Figure]:
        """Measure regret and resource of besom's stoppers, W&B's rule and Optuna's pruners."""
        seeds = range(6 if quick else 40)
        scores = {name: score(make, seeds) for name, make in RULES.items()}
        if chosen.plot is not None:
            draw(scores, chosen.plot)
        return figures(scores, score(RULES["asha"], seeds, workers=1))

    main("stopping", measure, rest)


if __name__ == "__main__":
    run(sys.argv[1:])
