"""Every command of examples/hydra/README.md works, and finds what there is to find."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "hydra"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_runs_from_hydra_and_from_a_file(tmp_path: Path) -> None:
    shutil.copytree(
        EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".besom", "multirun")
    )
    (tmp_path / ".besom").mkdir()
    code = re.findall(r"^```bash\n(.*?)^```$", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "\n".join(code)],
        cwd=tmp_path,
        env={**own, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    accuracy = re.search(r"^accuracy +(0\.\d+)$", done.stdout, re.MULTILINE)
    assert accuracy, done.stdout[-3000:]
    assert float(accuracy[1]) > 0.95
    assert len(list(tmp_path.glob("multirun/*/*/results.yaml"))) == 2


def test_the_app_knows_nothing_of_besom() -> None:
    assert not re.search(r"^\s*(import|from) besom", (EXAMPLE / "train.py").read_text(), re.MULTILINE)
