from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from besom.records import Run, Sweep
from besom.store import Store, open_store


@dataclass(frozen=True)
class Person:
    """Somebody who follows the FAQ in a folder, with `besom` for `wandb` on the command line."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Begin a command; `besom` and `python` are those of this environment."""
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *words: str, **environment: str) -> str:
        """Run a command, which must go well; gives what it prints."""
        process = self.start(*words, **environment)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, f"{' '.join(words)}: {process.returncode}\n{output}\n{errors}"
        return output

    def sweep(self, text: str, *options: str) -> str:
        """Create a sweep from a file of this text; gives its id."""
        self.write("sweep.yaml", text)
        return self.do("besom", "sweep", *options, "sweep.yaml").split()[-1]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    kept: Mapping[str, str] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BESOM_", "WANDB_", "SLURM_"))
    }
    return Person(
        tmp_path, {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}
    )


@pytest.fixture
def look(person: Person) -> Iterator[Callable[[], Store]]:
    """Opens the store that the person's commands have filled."""
    opened: list[Store] = []

    def store() -> Store:
        opened.append(open_store(f"sqlite:///{person.folder / '.besom' / 'besom.db'}"))
        return opened[-1]

    yield store
    for each in opened:
        each.close()


@pytest.fixture
def runs_of(look: Callable[[], Store]) -> Callable[[str], list[Run]]:
    return lambda sweep_id: look().list_runs(sweep_id)


@pytest.fixture
def sweep_of(look: Callable[[], Store]) -> Callable[[str], Sweep]:
    return lambda sweep_id: look().get_sweep(sweep_id)
