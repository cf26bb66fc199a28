"""Methods and stoppers that another package brings, by entry points."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import besom
from besom.errors import SweepFileError, UsageError
from besom.search import create_method
from besom.sweepfile import from_mapping, parse

NUMBERS = itertools.count()

SPIRAL = """
from besom.records import Batch


class Spiral:
    lookahead = 2

    def __init__(self, config):
        self.space, self.turns = config.space, config.settings.get("turns", 1)
        if self.turns > 9:
            raise config.fault("turns", f"spiral.turns must be at most 9, not {self.turns}")

    def suggest(self, cursor, count, history):
        points = [{"x": (self.turns * (cursor + step)) % 10 / 10} for step in range(count)]
        end = cursor + count
        return Batch(tuple(map(self.space.suggestion, points)), end, exhausted=end >= 10)


class Bored:
    def marks(self, point):
        return []

    def judge(self, point, board):
        from besom.stopping.base import Verdict

        return Verdict(stop=point.count >= 2, reason="bored: seen enough")


def create_bored(config):
    return Bored()
"""


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Install a package with entry points; gives the name of its module."""

    def install(code: str, points: str) -> str:
        module = f"others{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points.format(module=module))
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return module

    return install


POINTS = "[besom.methods]\nspiral = {module}:Spiral\n[besom.stoppers]\nbored = {module}:create_bored\n"


def sweep(**more: Any) -> dict[str, Any]:
    metric = {"name": "loss", "goal": "minimize"}
    return {
        "method": "spiral",
        "metric": metric,
        "parameters": {"x": {"values": [n / 10 for n in range(10)]}},
        **more,
    }


def test_a_sweep_is_run_by_a_method_of_another_package_with_its_settings(
    bring: Callable[..., str], tmp_path: Path
) -> None:
    bring(SPIRAL, POINTS)
    config = sweep(spiral={"turns": 3}, early_terminate={"type": "bored"}, run_cap=4)
    with besom.Sweep(config, store=f"sqlite:///{tmp_path / 's.db'}") as asked:
        found: list[float] = []
        while (run := asked.ask()) is not None:
            found.append(run.params["x"])
            asked.tell(run, run.params["x"])
    assert found == [0.0, 0.3, 0.6, 0.9]


def test_what_a_brought_method_finds_wrong_with_its_settings_has_a_place(bring: Callable[..., str]) -> None:
    bring(SPIRAL, POINTS)
    config = parse("method: spiral\nparameters: {x: {values: [1]}}\nspiral:\n  turns: 12\n")
    with pytest.raises(UsageError) as caught:
        create_method(config)
    assert str(caught.value) == "sweep.yaml:4:3: spiral.turns must be at most 9, not 12"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "spirale"}, "method cannot be 'spirale'; did you mean 'spiral'?"),
        ({"early_terminate": {"type": "boredd"}}, "type cannot be 'boredd'; did you mean 'bored'?"),
        ({"spirale": {"turns": 3}}, "unknown key 'spirale'; did you mean 'spiral'?"),
        ({"spiral": [3]}, "spiral must be a mapping, not a list"),
    ],
)
def test_a_brought_name_that_is_misspelt_is_recognized(
    bring: Callable[..., str], change: dict[str, Any], message: str
) -> None:
    bring(SPIRAL, POINTS)
    with pytest.raises(SweepFileError) as caught:
        from_mapping(sweep(**change))
    assert message in str(caught.value)


@pytest.mark.parametrize("code", ["import no_such_module_anywhere\n", "x = 1\n"])
def test_a_brought_method_that_cannot_be_imported_names_its_package(
    bring: Callable[..., str], code: str
) -> None:
    module = bring(code, POINTS)
    config = from_mapping(sweep())
    with pytest.raises(UsageError, match=f"the method 'spiral' of {module} cannot be loaded: "):
        create_method(config)
