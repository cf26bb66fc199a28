"""How good `method: bayes` is, against random search, Sobol, Optuna and W&B's engine, and at what cost.

Every contender gets 50 evaluations of each problem. A score is the regret of the run that reported best,
without its noise, over the mean regret of random search: 0 is the optimum, 1 as good as random. Scores are
averaged over seeds, and over problems by the geometric mean. Peers are slow and do not change with this
repository, so their games are kept in `results/peers.jsonl`; `--peers NAME ...` plays those that are missing,
with what `pip install --no-deps -r benchmarks/search/peers.txt` installs. `--jobs N` plays N games at a time.

    python -m benchmarks.search [--quick] [--json] [--check]       besom against the kept games of peers
    python -m benchmarks.search --peers optuna wandb --seeds 10    add games to the kept ones
    python -m benchmarks.search --problems oom5 condopt            only some problems
    python -m benchmarks.search --plot docs/images/search.svg      and draw them
    python -m benchmarks.search --again                            besom's games of the last full run, too
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from benchmarks.harness import Figure, main
from benchmarks.search import formulas, mixint, tables, trainings
from benchmarks.search.cost import costs
from benchmarks.search.play import Game, load, play, save
from benchmarks.search.plot import draw
from benchmarks.search.problem import Problem
from benchmarks.search.scores import Ratio, Scores

KEPT = Path(__file__).parent / "results" / "peers.jsonl"
OURS = Path(__file__).parent / "results" / "besom.jsonl"
QUICK = ("ackley10", "levyrot5", "hartmann6n", "intquad8", "nkcat6", "mixtab6", "condopt", "oom5")
PEERS = ("random", "sobol", "wandb", "optuna", "optuna-gp", "smac", "hebo", "ax")
BARS = {"optuna": 0.5, "wandb": 0.5, "optuna-gp": 0.8, "ax": 1.0}
COST_BARS = {"optuna-gp": 1 / 10, "ax": 1 / 40}
TOGETHER_BARS = {"optuna": 0.6, "wandb": 0.6}
HARD = ("hartfail6", "oom5", "condopt", "conddepth")
WORKERS = 8


@cache
def all_problems() -> dict[str, Problem]:
    """Give the problems by name."""
    parts = (formulas, tables, trainings, mixint)
    return {problem.name: problem for part in parts for problem in part.problems()}


def figures(scores: Scores) -> list[Figure]:
    """Turn scores into figures with their bars."""
    ours, together = ("besom", 1), ("besom", WORKERS)
    found: list[Figure] = []
    for name, side in (("besom, all problems", ours), (f"besom, all problems, {WORKERS} workers", together)):
        if side in scores.games:
            score = scores.over(side, list(scores.games[side]))
            found.append(Figure(name, score, "x random", None, "lower"))
    for peer in PEERS:
        for workers in (1, WORKERS):
            name = f"besom / {peer}" + ("" if workers == 1 else f", {workers} workers")
            bar = (BARS if workers == 1 else TOGETHER_BARS).get(peer)
            found += _ratio(name, scores.ratio(("besom", workers), (peer, workers)), bar)
    found += _ratio("failing and conditional / optuna", scores.ratio(ours, ("optuna", 1), HARD), 0.35)
    found += _ratio("8 workers / sequential", scores.ratio(together, ours), 1.1)
    return [*found, *_ranks(scores), *_worst(scores), *_costs(scores), *_problems(scores)]


def _ratio(name: str, ratio: Ratio | None, bar: float | None) -> list[Figure]:
    return [] if ratio is None else [Figure(name, ratio.value, "x", bar, "lower", ratio.note)]


def _ranks(scores: Scores) -> list[Figure]:
    """Give our place by mean rank, which is 1 when nobody's is lower."""
    found: list[Figure] = []
    for workers in (1, WORKERS):
        ranks = scores.ranks(workers)
        if "besom" in ranks and len(ranks) > 1:
            note = "mean ranks: " + ", ".join(f"{name} {rank:.2f}" for name, rank in ranks.items())
            name = "place by mean rank" + ("" if workers == 1 else f", {workers} workers")
            place = 1.0 + sum(rank < ranks["besom"] for rank in ranks.values())
            found.append(Figure(name, place, "", 1.0, "lower", note))
    return found


def _worst(scores: Scores) -> list[Figure]:
    found: list[Figure] = []
    for workers in (1, WORKERS):
        side = "besom", workers
        means = {name: statistics.fmean(played) for name, played in scores.games.get(side, {}).items()}
        if means:
            name = "worst problem" + ("" if workers == 1 else f", {workers} workers")
            worst = max(means, key=means.__getitem__)
            note = f"{worst}: {scores.spread(side, worst)}"
            found.append(Figure(name, means[worst], "x random", 1.0, "lower", note))
    return found


def _costs(scores: Scores) -> list[Figure]:
    """Compare what suggestions cost on the problems that both have played, when they played them."""
    found: list[Figure] = []
    for peer in PEERS:
        common = scores.common(("besom", 1), (peer, 1))
        if common:
            mine, theirs = (scores.cost(side, common) for side in (("besom", 1), (peer, 1)))
            note = f"{mine:.1f} and {theirs:.1f} ms on {len(common)} problems"
            name, bar = f"CPU of a suggestion, besom / {peer}", COST_BARS.get(peer)
            found.append(Figure(name, mine / theirs, "x", bar, "lower", note))
    return found


def _problems(scores: Scores) -> list[Figure]:
    found: list[Figure] = []
    for problem in scores.problems:
        score = scores.mean(("besom", 1), problem)
        if score is not None:
            others = ((peer, scores.mean((peer, 1), problem)) for peer in PEERS)
            note = ", ".join(f"{peer} {value:.2f}" for peer, value in others if value is not None)
            note = f"{scores.spread(('besom', 1), problem)}; {note}"
            found.append(Figure(f"  {problem}", score, "x random", None, "lower", note))
    return found


def missing(
    names: Sequence[str],
    problems: Sequence[str],
    seeds: int,
    workers: Sequence[int],
    kept: Sequence[Game],
) -> list[tuple[str, str, int, int]]:
    """Give the games that are not among the kept ones."""
    known = {(game.contender, game.problem, game.seed, game.workers) for game in kept}
    wanted = ((n, p, s, w) for s in range(seeds) for w in workers for n in names for p in problems)
    return [game for game in wanted if game not in known]


def play_all(wanted: Sequence[tuple[str, str, int, int]], jobs: int) -> Iterator[Game]:
    """Play games, `jobs` at a time in processes of their own."""
    if jobs == 1:
        yield from map(_play, wanted)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_play, wanted)


def _play(wanted: tuple[str, str, int, int]) -> Game:
    name, problem, seed, workers = wanted
    return play(name, all_problems()[problem], seed, workers=workers)


def options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split off what this benchmark understands beyond what every one does."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--peers", nargs="+", default=[])
    parser.add_argument("--problems", nargs="+", default=[])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--plot", type=Path)
    return parser.parse_known_args(arguments)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    chosen, rest = options(arguments)

    def measure(quick: bool) -> list[Figure]:
        """Play besom's games, score them beside the kept ones of its peers, and time suggestions."""
        names = chosen.problems or (QUICK if quick else list(all_problems()))
        workers = chosen.workers or ((1,) if quick else (1, WORKERS))
        if chosen.again:
            mine = [game for game in load(OURS) if game.problem in names and game.workers in workers]
        else:
            wanted = missing(["besom"], names, chosen.seeds or (3 if quick else 10), workers, ())
            mine = list(play_all(wanted, chosen.jobs))
        if not (quick or chosen.again or chosen.problems):
            others = [game for game in load(OURS) if game.workers not in workers]
            OURS.unlink(missing_ok=True)
            save([*others, *mine], OURS)
        games = [*mine, *(game for game in load(KEPT) if game.problem in names and game.workers in workers)]
        problems = [all_problems()[name] for name in names]
        if chosen.plot is not None:
            draw(games, problems, chosen.plot)
        return figures(Scores(games, problems)) + costs(quick)

    if chosen.peers:
        names = chosen.problems or list(all_problems())
        KEPT.parent.mkdir(exist_ok=True)
        workers = chosen.workers or (1, WORKERS)
        wanted = missing(chosen.peers, names, chosen.seeds or 10, workers, list(load(KEPT)))
        for game in play_all(wanted, chosen.jobs):
            save([game], KEPT)
    else:
        main("search", measure, rest)


if __name__ == "__main__":
    run(sys.argv[1:])
