"""The commands of docs/ray.md are run as they stand, the one that starts a cluster among them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from besom.records import RunState
from besom.store import open_store
from besom.testing.pages import page_script
from besom.testing.ray import missing, network, short_folder
from besom_ray.options import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "ray.md"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("outside")
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    with short_folder() as folder, network() as alone, alone.inside():
        home, work = tmp_path / "home", tmp_path / "work"
        home.mkdir()
        work.mkdir()
        told = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),  # where the token is written
            "RAY_TMPDIR": str(folder),
        }
        done = subprocess.run(
            ["bash", "-c", page_script(PAGE, read_only={"text"})],
            cwd=work,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert (home / ".ray" / "auth_token").exists()
        with closing(open_store(f"sqlite:///{work / '.besom' / 'besom.db'}")) as store:
            sweeps = store.list_sweeps()
            assert len(sweeps) == 3
            deadline = time.monotonic() + 60
            for sweep in sweeps:
                while [run.state for run in store.list_runs(sweep.id)] != [RunState.FINISHED] * 4:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                assert all(str(agent.job).startswith("ray:") for agent in store.list_agents(sweep.id))


def test_every_option_is_on_the_page() -> None:
    page = PAGE.read_text()
    for option in OPTIONS:
        assert any(name in page for name in option.opts), option.opts
