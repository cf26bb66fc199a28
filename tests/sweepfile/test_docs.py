from __future__ import annotations

import re
from pathlib import Path

import pytest

from besom.sweepfile import parse
from besom.sweepfile.domains import SHAPES
from besom.sweepfile.schema import KEYS

REFERENCE = Path(__file__).parents[2] / "docs" / "sweep-yaml.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_reference_is_a_sweep(example: str) -> None:
    config = parse(example)
    point = next(point for index in range(100) if (point := config.space.draw(1, index)) is not None)
    assert config.space.check(point) == []


def test_the_reference_names_every_key_and_distribution() -> None:
    text = REFERENCE.read_text()
    assert [name for name in (*KEYS, *SHAPES) if f"`{name}`" not in text] == []
