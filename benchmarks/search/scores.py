"""What games come to: mean scores, ratios between contenders with their spread, and ranks."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.search.play import FLOOR, Game, Scales, geometric_mean
from benchmarks.search.problem import Problem

DRAWS = 1000

Side = tuple[str, int]
"""A contender, and how many runs it had under way at a time."""


@dataclass(frozen=True)
class Ratio:
    """One contender's geometric mean over another's, on the problems that both have played."""

    value: float
    low: float  # 90 % interval, by drawing seeds anew
    high: float
    problems: int
    seeds: tuple[int, int]  # the fewest of the other's on a problem, and the most
    even: float  # the value with as many seeds of each: to have few flatters

    @property
    def note(self) -> str:
        """The spread and what it rests on, for a person to read."""
        few, many = self.seeds
        seeds = f"{few}" if few == many else f"{few} to {many}"
        seeds += " seed" if many == 1 else " seeds"
        interval = f"90 % interval {self.low:.2f} to {self.high:.2f}"
        return f"{interval}; {self.problems} problems, {seeds}; {self.even:.2f} with as many seeds of each"


class Scores:
    """Scores of all games, by contender and workers, and problem."""

    def __init__(self, games: Sequence[Game], problems: Sequence[Problem]) -> None:
        self.problems = [problem.name for problem in problems]
        self.games: dict[Side, dict[str, list[float]]] = {}
        self.costs: dict[Side, dict[str, list[float]]] = {}
        scales = Scales(games, problems)
        for game in games:
            side = game.contender, game.workers
            self.games.setdefault(side, {}).setdefault(game.problem, []).append(scales.score(game))
            self.costs.setdefault(side, {}).setdefault(game.problem, []).append(game.cpu_ms)

    def mean(self, side: Side, problem: str) -> float | None:
        """Give the mean over seeds; None when it did not play."""
        found = self.games.get(side, {}).get(problem)
        return statistics.fmean(found) if found else None

    def over(self, side: Side, problems: Sequence[str]) -> float:
        """Give the geometric mean over problems, all of which it has played."""
        return _over(self.games[side], problems, statistics.fmean)

    def cost(self, side: Side, problems: Sequence[str]) -> float:
        """Give the mean CPU milliseconds of a suggestion, telling the result included."""
        return statistics.fmean(statistics.fmean(self.costs[side][name]) for name in problems)

    def common(self, one: Side, other: Side, problems: Sequence[str] = ()) -> list[str]:
        """Give the problems that both have played."""
        mine, theirs = self.games.get(one, {}), self.games.get(other, {})
        return [name for name in problems or self.problems if name in mine and name in theirs]

    def ratio(self, one: Side, other: Side, problems: Sequence[str] = ()) -> Ratio | None:
        """Compare two contenders; None when no problem was played by both."""
        common = self.common(one, other, problems)
        if not common:
            return None
        chance = random.Random(1)

        def again(scores: Sequence[float]) -> float:
            return statistics.fmean(chance.choices(scores, k=len(scores)))

        mine, theirs = self.games[one], self.games[other]
        drawn = sorted(_over(mine, common, again) / _over(theirs, common, again) for _ in range(DRAWS))
        seeds = [len(theirs[name]) for name in common]
        return Ratio(
            self.over(one, common) / self.over(other, common),
            drawn[DRAWS // 20],
            drawn[-DRAWS // 20],
            len(common),
            (min(seeds), max(seeds)),
            self._even(one, other, common),
        )

    def _even(self, one: Side, other: Side, problems: Sequence[str]) -> float:
        """Compare two contenders by as many seeds of each on a problem: the median of many choices."""
        chance = random.Random(2)
        mine, theirs = self.games[one], self.games[other]
        fewest = {name: min(len(mine[name]), len(theirs[name])) for name in problems}

        def drawn(played: dict[str, list[float]]) -> float:
            return geometric_mean(
                [statistics.fmean(chance.sample(played[name], fewest[name])) for name in problems]
            )

        return statistics.median(drawn(mine) / drawn(theirs) for _ in range(DRAWS))

    def ranks(self, workers: int, problems: Sequence[str] = ()) -> dict[str, float]:
        """Give everybody's mean rank over problems, each among those who have played it, best first.

        Who has solved a problem, up to `FLOOR`, shares the first ranks.
        """
        found: dict[str, list[float]] = {}
        for problem in problems or self.problems:
            means = {
                name: max(statistics.fmean(played[problem]), FLOOR)
                for (name, count), played in self.games.items()
                if count == workers and problem in played
            }
            for name, score in means.items():
                below = sum(other < score for other in means.values())
                equal = sum(other == score for other in means.values())
                found.setdefault(name, []).append(below + (equal + 1) / 2)
        return dict(sorted(((n, statistics.fmean(r)) for n, r in found.items()), key=lambda pair: pair[1]))

    def spread(self, side: Side, problem: str) -> str:
        """Give the scores of the seeds from best to worst, for a note."""
        found = sorted(self.games.get(side, {}).get(problem, []))
        return f"{found[0]:.2f} … {found[-1]:.2f}, {len(found)} seeds" if found else ""


def _over(
    played: dict[str, list[float]], problems: Sequence[str], mean: Callable[[Sequence[float]], float]
) -> float:
    return geometric_mean([mean(played[name]) for name in problems])
