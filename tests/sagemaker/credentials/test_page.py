"""docs/requirements-and-secrets.md does what it says, against a real server that speaks AWS's protocol."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "requirements-and-secrets.md"
FENCE = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<name>\w+\.py)\n")
TOKEN = "hf_a-token-that-the-page-pushes"


def script() -> str:
    lines = ["set -euo pipefail"]
    for number, (skip, language, code) in enumerate(FENCE.findall(PAGE.read_text())):
        if skip or language not in ("bash", "python"):
            continue
        end = f"END_{number}"
        name = FILE.match(code)
        target = f"cat > {name['name']}" if name else "python -"
        lines.append(code if language == "bash" else f"{target} <<'{end}'\n{code}{end}")
    return "\n".join(lines)


@pytest.mark.slow
def test_the_page_does_what_it_says(aws: str, client: Any, tmp_path: Path) -> None:
    client("ssm").put_parameter(Name="/team/dsn", Value="postgresql://u:pw@h/db", Type="SecureString")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password 0123456789abcdef\n")
    (tmp_path / ".netrc").chmod(0o600)
    work = tmp_path / "work"
    (work / ".besom").mkdir(parents=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script()],
        cwd=work,
        env={**own, "PATH": path, "HOME": str(tmp_path), "HF_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"^PyYAML==6\S+ +# train.py:4$", done.stdout, re.MULTILINE)
    for line in (
        "# image-has: numpy",
        "# left out: apex: optional, and not installed here (train.py:8)",
        "# left out: numpy: the image provides it (model.py:2)",
        "HF_TOKEN: secretsmanager:besom/team#HF_TOKEN can be read",
        "{'WANDB_API_KEY': 'netrc:api.wandb.ai'}",
    ):
        assert line in done.stdout
        assert line in PAGE.read_text() or "can be read" in line
    assert "up to date" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "0123456789abcdef" not in done.stdout + done.stderr
