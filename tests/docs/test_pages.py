"""The code of the pages is run as it stands: each page in a folder of its own, one block after another."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from besom.cli import COMMANDS, EXTRAS, cli
from besom.testing.pages import page_blocks, page_script

ROOT = Path(__file__).parents[2]
RUN_HERE = (
    "README.md",
    "docs/quickstart.md",
    "docs/how-to.md",
    "docs/lightning.md",
    "docs/objectives.md",
    "docs/search.md",
)
READ_ONLY = {"", "text", "yaml", "json"}
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    for file in (ROOT / "examples" / "quickstart").glob("*.*"):
        if page == "README.md" and file.is_file():
            shutil.copy(file, tmp_path)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BESOM_", "WANDB_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
    (tmp_path / ".besom").mkdir()
    done = subprocess.run(
        ["bash", "-c", page_script(ROOT / page, read_only=READ_ONLY)],
        cwd=tmp_path,
        env={**own, "PATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr


def test_the_readme_shows_the_sweep_that_the_demo_runs() -> None:
    def plain(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    [shown] = [block.code for block in page_blocks(ROOT / "README.md") if block.language == "yaml"]
    assert plain(shown) == plain((ROOT / "examples/quickstart/sweep.yaml").read_text())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    broken: list[str] = []
    for target in targets:
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def _anchors(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_the_page_of_commands_names_every_command_and_option() -> None:
    import click

    text = (ROOT / "docs/cli.md").read_text()
    context = click.Context(cli)
    missing: list[str] = []
    for name in (*COMMANDS, *EXTRAS):
        command = cli.get_command(context, name)
        assert command is not None
        if f"`besom {name}" not in text:
            missing.append(name)
        options = [
            option for item in command.params if isinstance(item, click.Option) for option in item.opts
        ]
        missing += [f"{name} {option}" for option in options if not re.search(rf"`[^`]*{option}\b", text)]
    assert missing == []
