"""Draws how good contenders are after each evaluation, as the picture in docs/search.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.play import BUDGET, Game, Scale, geometric_mean
from benchmarks.search.problem import Problem

NAMES = {
    # As the legend has them, and their colors.
    "besom": ("besom", "#d62728"),
    "ax": ("Ax", "#9467bd"),
    "optuna-gp": ("Optuna GP", "#1f77b4"),
    "optuna": ("Optuna (default)", "#17becf"),
    "wandb": ("W&B bayes", "#bcbd22"),
    "sobol": ("Sobol", "#bbbbbb"),
    "random": ("random", "#777777"),
}
FLOOR = 1e-3


def draw(games: Sequence[Game], problems: Sequence[Problem], path: Path) -> None:
    """Write an SVG, a panel per number of workers: mean scores over seeds, geometric over problems."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "besom"  # the same picture, byte by byte, for the same games
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    scales = {
        problem.name: Scale(problem, min(game.trace[-1] for game in games if game.problem == problem.name))
        for problem in problems
    }
    counts = sorted({game.workers for game in games})
    figure, axes = plt.subplots(1, len(counts), figsize=(9, 4), sharey=True, squeeze=False)
    for axis, workers in zip(axes[0], counts, strict=True):
        for name, (label, color) in NAMES.items():
            curve = _curve(
                [game for game in games if (game.contender, game.workers) == (name, workers)], scales
            )
            if curve:
                width = 2.2 if name == "besom" else 1.2
                axis.plot(range(1, BUDGET + 1), curve, label=label, color=color, linewidth=width)
        axis.set_yscale("log")
        axis.set_xlabel("evaluations")
        axis.set_title("one at a time" if workers == 1 else f"{workers} at once")
        axis.grid(visible=True, which="both", alpha=0.2)
    axes[0][0].set_ylabel("regret, random search at 50 = 1")
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _curve(games: Sequence[Game], scales: dict[str, Scale]) -> list[float]:
    """Give the score after each evaluation; nothing unless every problem was played."""
    by_problem: dict[str, list[Game]] = {}
    for game in games:
        by_problem.setdefault(game.problem, []).append(game)
    if set(by_problem) != set(scales):
        return []
    curve: list[float] = []
    for index in range(BUDGET):
        means = [
            statistics.fmean(min(scales[name].score(game.trace[index]), 100.0) for game in played)
            for name, played in by_problem.items()
        ]
        curve.append(geometric_mean(means, FLOOR))
    return curve
