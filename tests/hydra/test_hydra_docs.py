"""The commands of docs/hydra.md are run as they stand, in a folder of their own, one after another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from besom.testing.pages import page_script

PAGE = Path(__file__).parents[2] / "docs" / "hydra.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    (tmp_path / ".besom").mkdir()
    done = subprocess.run(
        ["bash", "-c", page_script(PAGE)],
        cwd=tmp_path,
        env=own,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    search = tmp_path / "multirun" / "search"
    assert "finished: 12" in (search / "results.yaml").read_text()
    assert {path.name for path in search.iterdir() if path.is_dir()} == set(map(str, range(12)))


def test_every_option_is_on_the_page() -> None:
    from dataclasses import fields

    from besom_hydra.plan import SweeperOptions
    from besom_hydra.work import LaunchOptions

    text = PAGE.read_text()
    names = [field.name for options in (SweeperOptions, LaunchOptions) for field in fields(options)]
    assert [name for name in names if f"`{name}`" not in text] == []
