"""Points for those who cannot wait for a method: by turns a neighbor of the best run and a random point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from besom.records import Params, Suggestion
from besom.space.space import INACTIVE

if TYPE_CHECKING:
    from besom.space import SearchSpace

APART = 1 << 40
"""Sets the random numbers of guesses apart from those of methods."""

REACH = 0.3
"""How far a neighbor may lie, as a share of each axis; small steps are likelier."""


def guess(space: SearchSpace, seed: int, index: int, best: Params | None) -> Suggestion | None:
    """Give guess number `index`, a pure function of the arguments; None when that point is not allowed."""
    drawn = space.draw(seed, APART + index)
    if drawn is None or best is None or index % 2 == 0:
        return None if drawn is None else space.suggestion(drawn)
    if space.check(best):  # it is of a space that was since changed
        return space.suggestion(drawn)
    place = [
        chance if INACTIVE in {here, chance} else min(1.0, max(0.0, here + REACH * 4 * (chance - 0.5) ** 3))
        for here, chance in zip(space.encode(best), space.encode(drawn), strict=True)
    ]
    near = space.decode(place)
    return None if space.check(near) else space.suggestion(near)
