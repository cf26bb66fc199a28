"""The commands of docs/slurm.md are run as they stand, on a real cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from besom.records import RunState
from besom.testing.agents import Lab
from besom.testing.pages import page_script
from besom.testing.slurm import SlurmCluster
from besom_slurm.options import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "slurm.md"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_page_does_what_it_says(lab: Lab, slurm: SlurmCluster) -> None:
    own = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", page_script(PAGE, read_only={"text"})],
        cwd=lab.folder,
        env=own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    lab.wait(lambda: not slurm.run("squeue", "--noheader").strip(), 120)
    sweeps = lab.store.list_sweeps()
    assert len(sweeps) == 4
    for sweep in sweeps:
        assert lab.states(sweep) == [RunState.FINISHED] * 4


def test_every_option_is_on_the_page() -> None:
    page = PAGE.read_text()
    for option in OPTIONS:
        assert any(name in page for name in (*option.opts, *option.secondary_opts)), option.opts
