from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from besom.errors import SweepFileError
from besom.plugins import BUILTIN
from besom.stopping import create_stopper
from besom.sweepfile import from_mapping, parse
from besom.sweepfile.early import EARLY_KEYS

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", (DOCS / "early-termination.md").read_text(), re.DOTALL)
INLINE = re.findall(r"`(\{type: [^`]*\})`", (DOCS / "early-termination.md").read_text())


def sweep(early: str) -> str:
    return (
        f"method: grid\nmetric: {{name: loss}}\nparameters: {{a: {{value: 1}}}}\nearly_terminate: {early}\n"
    )


def settings(early: str) -> Mapping[str, Any] | None:
    return parse(sweep(early)).early_terminate


@pytest.mark.parametrize(
    ("early", "read"),
    [
        ("{type: asha, min_iter: 3}", {"type": "asha", "min_iter": 3, "eta": 3}),
        (
            "{type: asha, min_iter: 3, max_iter: 9, eta: 2.5, min_runs: 4, resource: epoch}",
            {"type": "asha", "resource": "epoch", "min_iter": 3, "max_iter": 9, "min_runs": 4, "eta": 2.5},
        ),
        (
            "{type: hyperband, min_iter: 3, resource: step}",
            {"type": "hyperband", "resource": "step", "min_iter": 3, "eta": 3, "strict": True},
        ),
        ("{type: median}", {"type": "median"}),
        ("{type: median, interval: 5, min_runs: 2}", {"type": "median", "min_runs": 2, "interval": 5}),
        ("{type: wilcoxon}", {"type": "wilcoxon", "p": 0.1}),
        ("{type: patience, patience: 2.5}", {"type": "patience", "patience": 2.5, "min_delta": 0}),
        ("{type: threshold, upper: 1e3}", {"type": "threshold", "upper": 1000.0}),
    ],
)
def test_settings_are_read_with_the_defaults_of_their_type(early: str, read: Mapping[str, Any]) -> None:
    config = parse(sweep(early))
    assert config.early_terminate == read
    assert create_stopper(config) is not None
    assert from_mapping(config.raw).early_terminate == read


@pytest.mark.parametrize(
    ("early", "message"),
    [
        ("{type: asah, min_iter: 1}", "4:25: early_terminate.type cannot be 'asah'; did you mean 'asha'?"),
        ("{type: zzz}", "known: asha, hyperband, median, patience, threshold, wilcoxon"),
        ("{type: asha}", "4:18: early_terminate needs min_iter: about an eighth of a full run"),
        (
            "{type: asha, min_itre: 3}",
            "4:31: unknown key 'min_itre' in early_terminate; did you mean 'min_iter'?",
        ),
        ("{type: asha, min_iter: 3, s: 2}", "unknown key 's' in early_terminate"),
        ("{type: asha, min_iter: 9, max_iter: 3}", "max_iter is below min_iter (9), which leaves no rung"),
        ("{type: asha, min_iter: 1, eta: 1}", "eta must be above 1, not 1"),
        ("{type: asha, min_iter: 1, resource: 3}", "resource must be text; write '3' in quotes"),
        ("{type: asha, min_iter: 1, resource: ''}", "resource must name what is logged beside the metric"),
        ("{type: median, intervall: 5}", "did you mean 'interval'?"),
        ("{type: median, interval: 0}", "interval must be at least 1, not 0"),
        ("{type: wilcoxon, p: 1}", "p must be between 0 and 1, not 1"),
        ("{type: patience}", "early_terminate needs patience"),
        ("{type: patience, patience: 0}", "patience must be above 0, not 0"),
        ("{type: patience, patience: 1, min_delta: -1}", "min_delta must be at least 0, not -1"),
        ("{type: threshold}", "early_terminate needs upper or lower"),
        ("{type: threshold, lower: 2, upper: 1}", "lower (2) is above upper (1)"),
        ("{type: threshold, upper: '1e3'}", "upper must be a number, not '1e3'; take the quotes away"),
    ],
)
def test_a_fault_is_told_with_its_place_and_the_way_out(early: str, message: str) -> None:
    with pytest.raises(SweepFileError, match=re.escape(message)):
        settings(early)


def test_every_builtin_type_has_its_keys_and_its_place_in_the_docs() -> None:
    assert EARLY_KEYS.keys() == BUILTIN["besom.stoppers"].keys()
    for page in ("early-termination.md", "sweep-yaml.md"):
        text = (DOCS / page).read_text()
        words = {kind for kind in EARLY_KEYS if kind not in text}
        words |= {key for keys in EARLY_KEYS.values() for key in keys if f"`{key}`" not in text}
        assert words == set()


@pytest.mark.parametrize("example", [*EXAMPLES, *map(sweep, INLINE)])
def test_every_example_of_the_docs_makes_a_stopper(example: str) -> None:
    assert create_stopper(parse(example)) is not None
