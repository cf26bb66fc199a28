"""Draws how good contenders are after each evaluation, as the picture in docs/search.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search.play import Game, Scales, geometric_mean
from benchmarks.search.problem import BUDGET, Problem

NAMES = {
    # As the legend has them, and their colors.
    "besom": ("besom", "#d62728"),
    "ax": ("Ax", "#9467bd"),
    "optuna-gp": ("Optuna GP", "#1f77b4"),
    "optuna": ("Optuna (default)", "#17becf"),
    "wandb": ("W&B bayes", "#bcbd22"),
    "smac": ("SMAC", "#2ca02c"),
    "hebo": ("HEBO", "#e377c2"),
    "sobol": ("Sobol", "#bbbbbb"),
    "random": ("random", "#777777"),
}


def draw(games: Sequence[Game], problems: Sequence[Problem], path: Path) -> None:
    """Write an SVG: those who have played every problem, for each number of workers; then all of them.

    Everybody is compared on the problems that all have played. Means over seeds, geometric over problems.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "besom"  # the same picture, byte by byte, for the same games
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    scales = Scales(games, problems)
    panels = _panels(games, {problem.name for problem in problems})
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 4), sharey=True, squeeze=False)
    for axis, (title, workers, names) in zip(axes[0], panels, strict=True):
        for name, (label, color) in NAMES.items():
            side = [game for game in games if (game.contender, game.workers) == (name, workers)]
            curve = _curve([game for game in side if game.problem in names], names, scales)
            if curve:
                width = 2.2 if name == "besom" else 1.2
                axis.plot(range(1, BUDGET + 1), curve, label=label, color=color, linewidth=width)
        axis.set_yscale("log")
        axis.set_xlabel("evaluations")
        axis.set_title(title)
        axis.grid(visible=True, which="both", alpha=0.2)
    axes[0][0].set_ylabel("regret, random search at 50 = 1")
    axes[0][-1].legend(frameon=False, fontsize=8, loc="lower left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _panels(games: Sequence[Game], problems: set[str]) -> list[tuple[str, int, set[str]]]:
    """Give title, workers and problems of every panel."""
    panels: list[tuple[str, int, set[str]]] = []
    for workers in sorted({game.workers for game in games}):
        how = "one at a time" if workers == 1 else f"{workers} at once"
        panels.append((f"{how}, {len(problems)} problems", workers, problems))
    shared = set(problems)
    for name in {game.contender for game in games if game.workers == 1}:
        shared &= {game.problem for game in games if (game.contender, game.workers) == (name, 1)}
    if shared and shared != problems:
        panels.append((f"one at a time, {len(shared)} problems", 1, shared))
    return panels


def _curve(games: Sequence[Game], problems: set[str], scales: Scales) -> list[float]:
    """Give the score after each evaluation; nothing unless every problem was played."""
    by_problem: dict[str, list[Game]] = {}
    for game in games:
        by_problem.setdefault(game.problem, []).append(game)
    if set(by_problem) != problems:
        return []
    curve: list[float] = []
    for count in range(1, BUDGET + 1):
        means = [
            statistics.fmean(min(scales.score(game, count), 100.0) for game in played)
            for played in by_problem.values()
        ]
        curve.append(geometric_mean(means))
    return curve
