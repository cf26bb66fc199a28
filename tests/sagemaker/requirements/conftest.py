from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from besom_sagemaker.requirements.resolve import Environment

BACKEND = """
import pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "{name}-1.0-py3-none-any.whl"
    info = "{name}-1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        for path in sorted(pathlib.Path("src").rglob("*.py")):
            wheel.write(path, path.relative_to("src").as_posix())
        wheel.writestr(f"{{info}}/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
    return name
"""
PROJECT = """
[project]
name = "{name}"
version = "1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@dataclass(frozen=True)
class Site:
    """A folder of installed packages, as pip leaves them."""

    folder: Path

    def install(
        self, name: str, version: str, *modules: str, direct: Mapping[str, Any] | None = None, tag: str = ""
    ) -> None:
        """Put a distribution there; modules are paths of empty files, or `path=text`."""
        record: list[str] = []
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        files = {path: text for path, _, text in (module.partition("=") for module in modules)}
        files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag or 'py3-none-any'}\n"
        if direct is not None:
            files[f"{info}/direct_url.json"] = json.dumps(direct)
        for path, text in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            record.append(f"{path},,")
        (self.folder / info / "RECORD").write_text("\n".join([*record, f"{info}/RECORD,,"]) + "\n")

    def environment(self, *more: Path) -> Environment:
        return Environment([str(self.folder), *map(str, more)])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "lib" / "site-packages"
    folder.mkdir(parents=True)
    made = Site(folder)
    made.install("numpy", "2.4.6", "numpy/__init__.py")
    made.install("torch", "2.13.0+cpu", "torch/__init__.py", "torchgen/__init__.py")
    made.install("pillow", "12.0.0", "PIL/__init__.py", "PIL/Image.py")
    made.install("opencv-python-headless", "4.12.0.88", "cv2/__init__.py")
    made.install("scikit-learn", "1.9.1", "sklearn/__init__.py", "sklearn/svm.py")
    made.install("PyYAML", "6.0.3", "yaml/__init__.py", "_yaml/__init__.py")
    made.install("pytorch-lightning", "2.6.6", "pytorch_lightning/__init__.py")
    made.install("hydra-core", "1.3.8", "hydra/__init__.py", "hydra/utils.py")
    made.install("einops", "0.8.1+local.1", "einops/__init__.py")
    made.install("six", "1.17.0", "six.py")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Write a project's files; gives its folder."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "project" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "project"

    return write


@pytest.fixture
def buildable(tmp_path: Path) -> Callable[[str, Mapping[str, str]], Path]:
    """Write a project that builds without any index: its build backend is in it."""

    def write(name: str, modules: Mapping[str, str]) -> Path:
        folder = tmp_path / f"checkout-{name}"
        files = {
            "pyproject.toml": PROJECT.format(name=name),
            "backend.py": BACKEND.format(name=name),
            **{f"src/{path}": text for path, text in modules.items()},
        }
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    return write
