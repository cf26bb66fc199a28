"""Small projects, each beside the list of requirements that a person wrote for it."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from besom.errors import UsageError
from besom_sagemaker.leaks import LeakError
from besom_sagemaker.requirements import UnresolvedImportsError, gather_requirements, local
from besom_sagemaker.requirements.install import EXPECTS, read_header

Project = Callable[[Mapping[str, str]], Path]


def reasons(found: Any) -> dict[str, str]:
    return {one.name: one.reason for one in found.left_out}


def test_distributions_have_other_names_than_their_modules(site: Any, project: Project) -> None:
    root = project(
        {
            "train.py": "import os, json\nfrom PIL import Image\nimport cv2\n"
            "from sklearn.svm import SVC\nimport yaml, six\n"
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == (
        "opencv-python-headless==4.12.0.88",
        "pillow==12.0.0",
        "PyYAML==6.0.3",
        "scikit-learn==1.9.1",
        "six==1.17.0",
    )
    assert [one.reason for one in found.requirements][:2] == ["train.py:3", "train.py:2"]


def test_what_the_image_brings_is_left_to_it(site: Any, project: Project) -> None:
    root = project({"train.py": "import torch\nimport numpy as np\nimport einops\n"})
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("einops==0.8.1",)
    assert reasons(found) == {
        "numpy": "the image provides it (train.py:2)",
        "torch": "the image provides it (train.py:1)",
    }
    assert read_header(found.text, EXPECTS) == ["numpy", "torch"]


def test_local_version_tags_are_not_pinned(site: Any, project: Project) -> None:
    root = project({"train.py": "import torch\nimport einops\n"})
    found = gather_requirements(root / "train.py", image_provides=(), environment=site.environment())
    assert found.lines == ("einops==0.8.1", "torch==2.13.0")


def test_optional_imports_are_taken_where_they_are_installed(site: Any, project: Project) -> None:
    root = project(
        {
            "train.py": "import contextlib\n"
            "try:\n    import apex\nexcept ImportError:\n    apex = None\n"
            "try:\n    import yaml\nexcept (ModuleNotFoundError, OSError):\n    import fallback_yaml\n"
            "with contextlib.suppress(ImportError):\n    import bitsandbytes\n"
            "import sys\nif sys.platform == 'darwin':\n    import AppKit\n"
            "try:\n    import six\nexcept ValueError:\n    pass\n"
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("PyYAML==6.0.3", "six==1.17.0")
    assert set(reasons(found)) == {"apex", "fallback_yaml", "bitsandbytes", "AppKit"}
    assert found.missing == ()


def test_imports_for_type_checkers_are_not_needed(site: Any, project: Project) -> None:
    root = project(
        {
            "train.py": "import typing\nfrom typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import pandas\n    import six\nelse:\n    import yaml\n"
            "if typing.TYPE_CHECKING:\n    from polars import Frame\n"
            "if False:\n    import tensorflow\n"
            "if not TYPE_CHECKING:\n    import einops\n"
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("einops==0.8.1", "PyYAML==6.0.3")
    assert set(reasons(found)) == {"pandas", "polars", "tensorflow", "six"}


def test_hydra_targets_are_imports(site: Any, project: Project) -> None:
    root = project(
        {
            "app.py": "import hydra\n@hydra.main(config_path='conf', config_name='config')\n"
            "def main(cfg): ...\n",
            "conf/config.yaml": "defaults:\n  - model: svm\n",
            "conf/model/svm.yaml": "_target_: sklearn.svm.SVC\nC: 1.0\n",
            "conf/model/net.yaml": "net:\n  - _target_: models.net.Net\n    dim: ${dim}\n"
            "  - {_target_: '${choice}'}\n",
            "models/net.py": "import einops\n",
            "elsewhere/other.yaml": "_target_: nowhere.Thing\n",
        }
    )
    found = gather_requirements(root / "app.py", environment=site.environment())
    assert found.lines == ("einops==0.8.1", "hydra-core==1.3.8", "scikit-learn==1.9.1")
    assert found.requirements[2].reason == "conf/model/svm.yaml:1"


@pytest.mark.parametrize("with_uv", [True, False])
def test_an_editable_package_becomes_a_wheel(
    site: Any,
    project: Project,
    buildable: Callable[[str, Mapping[str, str]], Path],
    monkeypatch: pytest.MonkeyPatch,
    with_uv: bool,
) -> None:
    if not with_uv:
        monkeypatch.setattr(local, "find_uv", lambda: None)
    checkout = buildable("ourlib", {"ourlib/__init__.py": "import six\nANSWER = 42\n"})
    site.install(
        "ourlib",
        "1.0",
        "_ourlib.pth=" + str(checkout / "src"),
        direct={"url": checkout.as_uri(), "dir_info": {"editable": True}},
    )
    root = project({"train.py": "import ourlib\nimport yaml\n"})
    environment = site.environment(checkout / "src")
    found = gather_requirements(root / "train.py", environment=environment)
    assert found.lines == ("./wheels/ourlib-1.0-py3-none-any.whl", "PyYAML==6.0.3")
    with zipfile.ZipFile(BytesIO(found.wheels["ourlib-1.0-py3-none-any.whl"])) as wheel:
        assert wheel.read("ourlib/__init__.py") == b"import six\nANSWER = 42\n"
    again = gather_requirements(root / "train.py", environment=site.environment(checkout / "src"))
    assert again.sha256 == found.sha256
    assert again.wheels == found.wheels
    (checkout / "helpers.py").write_text("")
    (root / "train.py").write_text("import ourlib, helpers\n")
    found = gather_requirements(root / "train.py", environment=site.environment(checkout / "src", checkout))
    assert [str(one) for one in found.missing] == [
        "train.py:1: import helpers: found in the folder of ourlib, whose wheel does not have it"
    ]


def test_what_came_from_a_repository_becomes_a_wheel_of_what_is_installed(
    site: Any, project: Project
) -> None:
    site.install(
        "research-kit",
        "0.3.dev1+g12ab",
        "research_kit/__init__.py=VALUE = 1\n",
        "research_kit/data.json={}",
        direct={
            "url": "https://person:hunter22@example.com/kit.git",
            "vcs_info": {"vcs": "git", "commit_id": "12ab" * 10},
        },
    )
    site.install(
        "fastops",
        "2.0",
        "fastops/__init__.py",
        "fastops/_ops.cpython-311-x86_64-linux-gnu.so",
        direct={"url": "file:///home/somebody/fastops", "dir_info": {}},
        tag="cp311-cp311-linux_x86_64",
    )
    root = project({"train.py": "from research_kit import VALUE\nimport fastops\n"})
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == (
        "./wheels/fastops-2.0-cp311-cp311-linux_x86_64.whl",
        "./wheels/research_kit-0.3.dev1+g12ab-py3-none-any.whl",
    )
    with zipfile.ZipFile(BytesIO(found.wheels["research_kit-0.3.dev1+g12ab-py3-none-any.whl"])) as wheel:
        names = wheel.namelist()
        assert {"research_kit/__init__.py", "research_kit/data.json"} <= set(names)
        assert not any("direct_url" in name for name in names)
    assert found.requirements[1].reason.startswith("git+https://example.com/kit.git@12ab")
    assert "hunter22" not in found.text
    assert "somebody" not in found.text


def test_the_programs_own_modules_are_followed_and_left_out(site: Any, project: Project) -> None:
    root = project(
        {
            "pkg/__init__.py": "from . import data\n",
            "pkg/data.py": "from .deep.more import thing\nfrom . import sibling\n",
            "pkg/sibling.py": "import six\n",
            "pkg/deep/__init__.py": "",
            "pkg/deep/more.py": "from ..sibling import six\nimport yaml\nthing = 1\n",
            "pkg/unused.py": "import nothing_of_this_name\n",
            "space/part/mod.py": "import einops\n",
            "train.py": "import importlib\nimport pkg\nimport space.part.mod\n"
            "importlib.import_module('late')\n__import__('PIL.Image')\n",
            "late.py": "def go():\n    import sklearn\n",
            "six/readme.txt": "a folder that only looks like a package",
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == (
        "einops==0.8.1",
        "pillow==12.0.0",
        "PyYAML==6.0.3",
        "scikit-learn==1.9.1",
        "six==1.17.0",
    )


def test_a_part_of_a_namespace_package_means_its_own_distribution(site: Any, project: Project) -> None:
    site.install("google-cloud-storage", "3.0.0", "google/cloud/storage/__init__.py")
    site.install("google-cloud-bigquery", "3.9.0", "google/cloud/bigquery/__init__.py")
    site.install("protobuf", "6.33.6", "google/protobuf/message.py", "google/protobuf/__init__.py")
    root = project({"train.py": "from google.cloud import storage\nimport google.protobuf.message\n"})
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("google-cloud-storage==3.0.0", "protobuf==6.33.6")
    (root / "train.py").write_text("from google.cloud import vision\n")
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert [str(one) for one in found.missing] == [
        "train.py:1: import google.cloud.vision: not installed here, though other parts of google are"
    ]


def test_a_requirements_file_wins_and_is_filled_up(
    site: Any, project: Project, buildable: Callable[[str, Mapping[str, str]], Path]
) -> None:
    checkout = buildable("ourlib", {"ourlib/__init__.py": ""})
    root = project(
        {
            "train.py": "import yaml, six, cv2, torch, ourlib\n",
            "requirements.txt": "# ours\n--extra-index-url https://example.com/simple\n"
            "PyYAML>=5,<7  # wide\n-r more.txt\ntorch==2.1.0\n" + f"-e {checkout}\n",
            "more.txt": "requests[socks]==2.32.0 ; \\\n  python_version >= '3.8'\n",
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == (
        "--extra-index-url https://example.com/simple",
        "opencv-python-headless==4.12.0.88",
        "./wheels/ourlib-1.0-py3-none-any.whl",
        "PyYAML>=5,<7",
        "requests[socks]==2.32.0 ; python_version >= '3.8'",
        "six==1.17.0",
    )
    assert reasons(found)["torch"].startswith("the image provides it (requirements.txt:5")


def test_hashes_are_kept_for_all_lines_or_asked_for(site: Any, project: Project) -> None:
    site.install(
        "kit", "1.0", "kit.py", direct={"url": "https://example.com/kit-1.0.zip", "archive_info": {}}
    )
    sha = "0" * 64
    root = project(
        {
            "train.py": "import yaml, kit\n",
            "requirements.txt": f"PyYAML==6.0.3 \\\n    --hash=sha256:{sha} \\\n    --hash=sha256:{sha}\n",
        }
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    wheel, line = found.lines
    assert line == f"PyYAML==6.0.3 --hash=sha256:{sha} --hash=sha256:{sha}"
    digest = hashlib.sha256(found.wheels["kit-1.0-py3-none-any.whl"]).hexdigest()
    assert wheel == f"./wheels/kit-1.0-py3-none-any.whl --hash=sha256:{digest}"
    (root / "train.py").write_text("import yaml, six\n")
    with pytest.raises(UsageError, match=r"but six \(train.py:1\) is not among them"):
        gather_requirements(root / "train.py", environment=site.environment())


def test_an_index_with_a_password_does_not_travel(site: Any, project: Project) -> None:
    stated = "PyYAML\n--extra-index-url https://" + "me:hunter22@example.com/simple\n"
    root = project({"train.py": "import yaml\n", "requirements.txt": stated})
    with pytest.raises(LeakError, match=r"requirements\.txt:2") as error:
        gather_requirements(root / "train.py", environment=site.environment())
    assert "hunter22" not in str(error.value)


UV_LOCK = """
version = 1
requires-python = ">=3.10"

[[package]]
name = "colorama"
version = "0.4.6"
source = { registry = "https://example.com/simple" }
sdist = { url = "https://example.com/colorama-0.4.6.tar.gz", hash = "sha256:HASH", size = 1 }

[[package]]
name = "pyyaml"
version = "6.0.1"
source = { registry = "https://example.com/simple" }
sdist = { url = "https://example.com/pyyaml-6.0.1.tar.gz", hash = "sha256:HASH", size = 1 }

[[package]]
name = "thing"
version = "0.1.0"
source = { virtual = "." }
dependencies = [
  { name = "colorama", marker = "sys_platform == 'win32'" },
  { name = "pyyaml" },
]

[package.metadata]
requires-dist = [
  { name = "colorama", marker = "sys_platform == 'win32'" },
  { name = "pyyaml" },
]
""".replace("HASH", "0" * 64)
THING = """
[project]
name = "thing"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = ["pyyaml", "colorama; sys_platform == 'win32'"]
"""


@pytest.mark.parametrize("with_uv", [True, False])
def test_a_lock_file_is_kept_to(
    site: Any, project: Project, monkeypatch: pytest.MonkeyPatch, with_uv: bool
) -> None:
    from besom_sagemaker.requirements import lock

    if not with_uv:
        monkeypatch.setattr(lock, "find_uv", lambda: None)
    root = project({"train.py": "import yaml, six\n", "pyproject.toml": THING, "uv.lock": UV_LOCK})
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert [line.replace(" ;", ";") for line in found.lines] == [
        "colorama==0.4.6; sys_platform == 'win32'",
        "pyyaml==6.0.1",
        "six==1.17.0",
    ]


POETRY_LOCK = """
[[package]]
name = "PyYAML"
version = "6.0.1"
optional = false
groups = ["main"]

[[package]]
name = "pytest"
version = "9.0.0"
optional = false
groups = ["dev"]

[[package]]
name = "colorama"
version = "0.4.6"
optional = false
groups = ["main", "dev"]
markers = {main = "platform_system == 'Windows'", dev = "sys_platform == 'win32'"}
"""


def test_poetrys_lock_file_and_pyproject_are_read(site: Any, project: Project) -> None:
    root = project({"train.py": "import yaml\n", "poetry.lock": POETRY_LOCK})
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("colorama==0.4.6 ; platform_system == 'Windows'", "pyyaml==6.0.1")
    (root / "poetry.lock").unlink()
    (root / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["PyYAML~=6.0"]\n')
    found = gather_requirements(root / "train.py", environment=site.environment())
    assert found.lines == ("PyYAML~=6.0",)


def test_an_import_that_nothing_provides_is_an_error_with_its_place(site: Any, project: Project) -> None:
    root = project(
        {"train.py": "import helper\n", "helper.py": "import yaml\n\nimport soundfile.core\nimport bs4\n"}
    )
    found = gather_requirements(root / "train.py", environment=site.environment())
    with pytest.raises(UnresolvedImportsError) as error:
        found.refuse_missing()
    assert str(error.value) == (
        "imports that no installed package provides:\n"
        "  helper.py:3: import soundfile: not installed here\n"
        "  helper.py:4: import bs4: not installed here; it comes with beautifulsoup4\n"
        "install them here, or leave them out with --allow-missing soundfile,bs4"
    )
    allowed = gather_requirements(
        root / "train.py", allow_missing=["soundfile", "bs4"], environment=site.environment()
    )
    allowed.refuse_missing()
    assert allowed.lines == ("PyYAML==6.0.3",)


def test_a_module_beside_the_source_folder_is_told_from_an_uninstalled_one(
    site: Any, project: Project, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "common.py").write_text("")
    root = project({"train.py": "import common\n"})
    found = gather_requirements(root / "train.py", environment=site.environment(tmp_path / "shared"))
    assert f"found at {tmp_path / 'shared' / 'common.py'}" in str(found.missing[0])


def test_a_torch_that_only_the_image_has_is_not_missing(project: Project, tmp_path: Path) -> None:
    from besom_sagemaker.requirements.resolve import Environment

    root = project({"train.py": "import torch.nn\n"})
    found = gather_requirements(root / "train.py", environment=Environment([str(tmp_path)]))
    found.refuse_missing()
    assert found.lines == ()
    assert found.image_has == ("torch",)
