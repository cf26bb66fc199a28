"""The result in a fresh virtual environment, and by the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from besom_sagemaker.requirements import gather_requirements, install
from besom_sagemaker.requirements.local import make_wheel
from besom_sagemaker.requirements.resolve import Environment

INSTALLER = Path(install.__file__)


def besom(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "besom", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = {
    "train.py": """
import importlib
from typing import TYPE_CHECKING
import iniconfig, yaml
from model.net import NAME

try:
    import no_such_package_here
except ImportError:
    no_such_package_here = None
if TYPE_CHECKING:
    import pandas
print("imported", yaml.__version__, NAME, importlib.import_module("packaging.version").__name__)
""",
    "model/net.py": "import pluggy\nNAME = pluggy.__name__\n",
}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The interpreter of a virtual environment with pip and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    return tmp_path / "venv" / "bin" / "python"


@pytest.mark.slow
def test_a_fresh_environment_made_from_the_result_imports_the_program(
    fresh: Path, tmp_path: Path, project: Callable[[Mapping[str, str]], Path]
) -> None:
    root = project(PROGRAM)
    found = gather_requirements(root / "train.py")
    found.refuse_missing()
    found.write(tmp_path / "job" / "requirements.txt")
    here = Environment()
    for line in found.lines:  # the wheels that an index would give: what is installed here, packed again
        package = here.package(line.partition("==")[0])
        assert package is not None
        make_wheel(package, tmp_path / "index", here)
    options = ["--no-index", "--find-links", str(tmp_path / "index")]
    done = subprocess.run(
        [fresh, INSTALLER, tmp_path / "job" / "requirements.txt", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([fresh, root / "train.py"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("imported 6")
    assert ran.stdout.split()[2:] == ["pluggy", "packaging.version"]
    assert sorted(line.partition("==")[0] for line in found.lines) == [
        "PyYAML",
        "iniconfig",
        "packaging",
        "pluggy",
    ]

    # The image has its own iniconfig now: a file that asks for another is refused before anything changes.
    clash = tmp_path / "job" / "clash.txt"
    clash.write_text("# image-provides: iniconfig\niniconfig==0.0.1\n")
    done = subprocess.run([fresh, INSTALLER, clash, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip could not install" in done.stderr
    lacks = tmp_path / "job" / "lacks.txt"
    lacks.write_text("# image-provides: torch\n# image-has: torch\niniconfig\n")
    done = subprocess.run([fresh, INSTALLER, lacks], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the image has no torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_constraints_hold_what_is_installed() -> None:
    lines = install.image_constraints(["pytest*", "PyYAML", "no-such-thing"]).splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert {"pytest", "pytest-timeout", "pyyaml"} <= set(names)
    assert all(name.startswith(("pytest", "pyyaml")) for name in names)


def test_besom_goes_along_as_a_wheel(tmp_path: Path, project: Callable[[Mapping[str, str]], Path]) -> None:
    root = project({"train.py": "import besom\n"})
    found = gather_requirements(root / "train.py")
    [line] = found.lines
    found.write(tmp_path / "requirements.txt")
    wheel = tmp_path / line
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path[:0] = [{str(wheel)!r}]; import besom; print(besom.__file__)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert str(wheel) in done.stdout


@pytest.mark.slow
def test_the_command_writes_checks_and_notices_what_is_out_of_date(
    project: Callable[[Mapping[str, str]], Path],
) -> None:
    root = project({"train.py": "import yaml\n"})
    shown = besom("requirements", "train.py", cwd=root)
    assert shown.returncode == 0, shown.stderr
    assert "PyYAML==6" in shown.stdout
    assert not (root / "requirements.txt").exists()
    assert besom("requirements", "train.py", "--check", "-o", "requirements.txt", cwd=root).returncode == 1
    assert besom("requirements", "train.py", "-o", "requirements.txt", cwd=root).returncode == 0
    assert (root / "requirements.txt").read_text() == shown.stdout
    checked = besom("requirements", "train.py", "--check", "-o", "requirements.txt", cwd=root)
    assert checked.returncode == 0
    assert "train.py:1" in checked.stdout
    (root / "train.py").write_text("import yaml\nimport iniconfig\n")
    assert besom("requirements", "train.py", "--check", "-o", "requirements.txt", cwd=root).returncode == 1


def test_the_command_fails_where_an_import_is_not_resolved(
    project: Callable[[Mapping[str, str]], Path],
) -> None:
    root = project({"train.py": "import yaml\nimport no_such_module_here\n"})
    done = besom("requirements", "train.py", cwd=root)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "train.py:2: import no_such_module_here" in done.stderr
    allowed = besom("requirements", "train.py", "--allow-missing", "no_such_module_here", cwd=root)
    assert allowed.returncode == 0
    assert "left out: no_such_module_here" in allowed.stdout
    broken = besom("requirements", "broken.py", cwd=project({"broken.py": "import (\n"}))
    assert broken.returncode == 2
    assert "broken.py:1: not Python" in broken.stderr


def test_the_installer_runs_as_a_module_and_without_besom(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# image-has: no-such-torch\n")
    for command in (["-m", "besom_sagemaker.requirements.install"], ["-I", "-S", str(INSTALLER)]):
        done = subprocess.run(
            [sys.executable, *command, str(tmp_path / "requirements.txt")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("besom: the image has no no-such-torch")
