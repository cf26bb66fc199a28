"""How good `method: bayes` is, against random search, Sobol, Optuna and W&B's engine, and at what cost.

Every contender gets 50 evaluations of each problem. A score is the regret of the run that reported best,
without its noise, over the mean regret of random search: 0 is the optimum, 1 as good as random. Scores are
averaged over seeds, and over problems by the geometric mean. Peers are slow and do not change with this
repository, so their games are kept in `results/peers.jsonl`; `--peers NAME ...` plays those that are missing.

    python -m benchmarks.search [--quick] [--json] [--check]       besom against the kept games of peers
    python -m benchmarks.search --peers optuna wandb --seeds 10    add games to the kept ones
    python -m benchmarks.search --problems oom5 condopt            only some problems
    python -m benchmarks.search --plot docs/images/search.svg      and draw them
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Figure, main
from benchmarks.search import formulas, tables, trainings
from benchmarks.search.cost import costs
from benchmarks.search.play import Game, Scale, geometric_mean, load, play, save
from benchmarks.search.plot import draw
from benchmarks.search.problem import Problem

KEPT = Path(__file__).parent / "results" / "peers.jsonl"
QUICK = ("ackley10", "levyrot5", "hartmann6n", "intquad8", "nkcat6", "mixtab6", "condopt", "oom5")
BARS = {"optuna": 0.5, "wandb": 0.5, "optuna-gp": 0.8, "ax": 1.0}
HARD = ("hartfail6", "oom5", "condopt", "conddepth")
WORKERS = 8


def all_problems() -> dict[str, Problem]:
    """Give the problems by name."""
    return {problem.name: problem for part in (formulas, tables, trainings) for problem in part.problems()}


class Scores:
    """Mean scores over seeds, by contender, workers and problem."""

    def __init__(self, games: Sequence[Game], problems: Sequence[Problem]) -> None:
        self.problems = [problem.name for problem in problems]
        self.games: dict[tuple[str, int, str], list[float]] = {}
        for problem in problems:
            mine = [game for game in games if game.problem == problem.name]
            scale = Scale(problem, min((game.trace[-1] for game in mine), default=math.inf))
            for game in mine:
                key = game.contender, game.workers, problem.name
                self.games.setdefault(key, []).append(scale.score(game.trace[-1]))

    def mean(self, contender: str, workers: int, problem: str) -> float | None:
        """Give the mean over seeds; None when it did not play."""
        found = self.games.get((contender, workers, problem))
        return statistics.fmean(found) if found else None

    def over(self, contender: str, workers: int, problems: Sequence[str]) -> float:
        """Give the geometric mean over problems."""
        scores = [self.mean(contender, workers, problem) for problem in problems]
        return geometric_mean([score for score in scores if score is not None])

    def common(self, one: tuple[str, int], other: tuple[str, int], problems: Sequence[str] = ()) -> list[str]:
        """Give the problems that both have played."""
        return [p for p in problems or self.problems if (*one, p) in self.games and (*other, p) in self.games]

    def ratio(
        self, one: tuple[str, int], other: tuple[str, int], problems: Sequence[str] = ()
    ) -> tuple[float, int]:
        """Give one's geometric mean over another's on the problems that both have played, and how many."""
        common = self.common(one, other, problems)
        return (self.over(*one, common) / self.over(*other, common) if common else math.nan), len(common)

    def spread(self, contender: str, workers: int, problem: str) -> str:
        """Give the scores of the seeds from best to worst, for a note."""
        found = sorted(self.games.get((contender, workers, problem), []))
        return f"{found[0]:.2f} … {found[-1]:.2f}, {len(found)} seeds" if found else ""


def figures(scores: Scores) -> list[Figure]:
    """Turn scores into figures with their bars."""
    ours, together = ("besom", 1), ("besom", WORKERS)
    found = [Figure("besom, all problems", scores.over(*ours, scores.problems), "x random", None, "lower")]
    for peer, bar in BARS.items():
        for workers in (1, WORKERS):
            ratio, count = scores.ratio(("besom", workers), (peer, workers))
            if count:
                how = "" if workers == 1 else f", {workers} workers"
                found.append(Figure(f"besom / {peer}{how}", ratio, "x", bar, "lower", f"{count} problems"))
    ratio, count = scores.ratio(ours, ("optuna", 1), HARD)
    if count:
        found.append(
            Figure("failing and conditional / optuna", ratio, "x", 0.35, "lower", f"{count} problems")
        )
    ratio, count = scores.ratio(together, ours)
    if count:
        found.append(Figure("8 workers / sequential", ratio, "x", 1.1, "lower", f"{count} problems"))
    worst = max((scores.mean(*ours, name) or 0.0, name) for name in scores.problems)
    found.append(Figure("worst problem", worst[0], "x random", 1.0, "lower", worst[1]))
    played = {workers for name, workers, _ in scores.games if name == "besom"}
    peers = sorted({(name, count) for name, count, _ in scores.games if name != "besom" and count in played})
    for name, workers in peers:
        mine = ("besom", workers)
        common = scores.common(mine, (name, workers))
        note = f"{len(common)} problems; besom on them {scores.over(*mine, common):.3f}"
        found.append(
            Figure(
                f"{name}, {workers} at a time",
                scores.over(name, workers, common),
                "x random",
                None,
                "lower",
                note,
            )
        )
    for problem in scores.problems:
        score = scores.mean(*ours, problem)
        if score is not None:
            others = ((peer, scores.mean(peer, 1, problem)) for peer in ("random", *BARS))
            peers_note = ", ".join(f"{peer} {value:.2f}" for peer, value in others if value is not None)
            note = f"{scores.spread(*ours, problem)}; {peers_note}"
            found.append(Figure(f"  {problem}", score, "x random", None, "lower", note))
    return found


def missing(
    names: Sequence[str],
    problems: Sequence[Problem],
    seeds: int,
    workers: Sequence[int],
    kept: Sequence[Game],
) -> list[tuple[str, Problem, int, int]]:
    """Give the games that are not among the kept ones."""
    known = {(game.contender, game.problem, game.seed, game.workers) for game in kept}
    wanted = ((n, p, s, w) for s in range(seeds) for w in workers for n in names for p in problems)
    return [game for game in wanted if (game[0], game[1].name, *game[2:]) not in known]


def options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split off what this benchmark understands beyond what every one does."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", nargs="+", default=[])
    parser.add_argument("--problems", nargs="+", default=[])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--plot", type=Path)
    return parser.parse_known_args(arguments)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    chosen, rest = options(arguments)
    known = all_problems()

    def measure(quick: bool) -> list[Figure]:
        """Play besom's games, score them beside the kept ones of its peers, and time suggestions."""
        names = chosen.problems or (QUICK if quick else list(known))
        problems = [known[name] for name in names]
        workers = chosen.workers or ((1,) if quick else (1, WORKERS))
        games = [game for game in load(KEPT) if game.problem in names]
        wanted = missing(["besom"], problems, chosen.seeds or (3 if quick else 10), workers, ())
        games += [play(name, problem, seed, workers=count) for name, problem, seed, count in wanted]
        if chosen.plot is not None:
            draw(games, problems, chosen.plot)
        return figures(Scores(games, problems)) + costs(quick)

    if chosen.peers:
        problems = [known[name] for name in chosen.problems or known]
        KEPT.parent.mkdir(exist_ok=True)
        for name, problem, seed, workers in missing(
            chosen.peers, problems, chosen.seeds or 10, chosen.workers or (1, WORKERS), list(load(KEPT))
        ):
            save([play(name, problem, seed, workers=workers)], KEPT)
    else:
        main("search", measure, rest)


if __name__ == "__main__":
    run(sys.argv[1:])
