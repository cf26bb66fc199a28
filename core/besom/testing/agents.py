"""For tests: a store, sweeps and agents in a folder of their own; agents run here or as processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from besom.agent import AgentEvent, AgentOptions, AgentResult, run_agent
from besom.records import Run, RunState, Sweep
from besom.store import open_store
from besom.store.base import Store
from besom.sweep import create_sweep
from besom.sweepfile import parse

AGENT = """
import json, sys
from besom.agent import AgentOptions, run_agent
from besom.store import open_store

store = open_store(sys.argv[1])
options = AgentOptions(**json.loads(sys.argv[3]))
tell = lambda event: print(event.kind, event.detail, flush=True)
result = run_agent(store, sys.argv[2], options, on_event=tell)
sys.exit(result.exit_code)
"""


@dataclass
class Lab:
    """Everything a test of the agent needs."""

    folder: Path
    store: Store
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def sweep(self, text: str, *, folder: Path | None = None) -> Sweep:
        """Create a sweep from YAML; `folder` is where its file shall lie."""
        config = parse(textwrap.dedent(text))
        if folder is not None:
            folder.mkdir(exist_ok=True)
            file = folder / "sweep.yaml"
            file.write_text(textwrap.dedent(text))
            config = dataclasses.replace(config, source=str(file))
        return create_sweep(self.store, config)

    def shell_sweep(self, script: str, values: str = "[1]", **more: Any) -> Sweep:
        """Create a grid over `x` whose runs are `sh -c script`; the script sees $1 as --x=value."""
        command = json.dumps(["sh", "-c", textwrap.dedent(script), "sh", "${args}"])
        extra = "".join(f"{key}: {json.dumps(value)}\n" for key, value in more.items())
        return self.sweep(
            f"method: grid\ncommand: {command}\nparameters: {{x: {{values: {values}}}}}\n{extra}"
        )

    def python_sweep(self, program: str, values: str = "[1]", **more: Any) -> Sweep:
        """Create a grid over `x` whose runs are a Python program."""
        self.write("train.py", program)
        extra = "".join(f"{key}: {json.dumps(value)}\n" for key, value in more.items())
        return self.sweep(
            f"method: grid\nprogram: train.py\nparameters: {{x: {{values: {values}}}}}\n{extra}"
        )

    def agent(
        self, sweep: Sweep, *, on_event: Callable[[AgentEvent], None] | None = None, **options: Any
    ) -> AgentResult:
        """Run an agent in this process."""
        words: dict[str, Any] = {"grace": 5.0, **options}
        told = AgentOptions(**words)
        return run_agent(self.store, sweep.id, told, on_event=on_event or (lambda event: None))

    def start_agent(self, sweep: Sweep, **options: Any) -> subprocess.Popen[bytes]:
        """Start an agent as a process of its own."""
        words = json.dumps({"grace": 5.0, **options})
        command = [sys.executable, "-c", AGENT, self.store.url, sweep.id, words]
        with (self.folder / f"agent-{len(self.agents)}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        self.agents.append(process)
        return process

    def programs(self) -> list[int]:
        """Give the processes of the runs' programs that live; each leads a group."""
        mine = f"BESOM_RUN_DIR={self.folder}".encode()
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                pid = int(path.parent.name)
                if mine in path.read_bytes() and os.getpgid(pid) == pid:
                    found.append(pid)
        return found

    def agent_output(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("agent-*.log")))

    def runs(self, sweep: Sweep) -> list[Run]:
        return self.store.list_runs(sweep.id)

    def states(self, sweep: Sweep) -> list[RunState]:
        return [run.state for run in self.runs(sweep)]

    def output(self, run: Run) -> str:
        path = self.folder / ".besom" / "runs" / run.id / "output.log"
        return path.read_text() if path.exists() else ""

    def wait(self, true: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until something is true, with a deadline."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"waited in vain; the agents said: {self.agent_output()}"
            time.sleep(0.02)


@contextmanager
def open_lab(folder: Path, *, url: str | None = None) -> Generator[Lab]:
    """Give a lab in an empty folder, and leave no agent of it running; `BESOM_DIR` must be its `.besom`.

    Its store is a SQLite file there, or the one at `url`.
    """
    (folder / ".besom").mkdir()
    store = open_store(url or f"sqlite:///{folder / '.besom' / 'besom.db'}")
    made = Lab(folder, store)
    try:
        yield made
    finally:
        for process in made.agents:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(20)
        store.close()
