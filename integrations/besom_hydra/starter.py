"""Makes processes of a sweep's runs: forks of the composed application, or new interpreters."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from besom.agent import Child
from besom.agent.process import child_environment, start_child
from besom.errors import UsageError
from besom.folders import RunFolder
from besom.records import Run, Sweep
from besom_hydra.compose import Composer
from besom_hydra.fork import current_seeds, fork
from besom_hydra.job import Task, blank_return, perform

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from besom_hydra.app import App

StartMethod = Literal["fork", "spawn"]


def start_method(wanted: str) -> StartMethod:
    """Give how jobs are started here: as wanted, and for "auto" forks where they are safe.

    They are on Linux unless this process uses a GPU already, whose state a fork cannot take over. UsageError
    for any other word.
    """
    if wanted == "fork" and hasattr(os, "fork"):
        return "fork"
    if wanted == "spawn":
        return "spawn"
    if wanted != "auto":
        raise UsageError(
            f"hydra.launcher.start_method={wanted!r} is not possible here; use auto, fork or spawn"
        )
    return "fork" if sys.platform == "linux" and not _uses_gpu() else "spawn"


def _uses_gpu() -> bool:
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return True
    jax: Any = sys.modules.get("jax._src.xla_bridge")
    if jax is not None and getattr(jax, "_backends", None):
        return True
    return "tensorflow" in sys.modules  # starts threads at import


class JobStarter:
    """Starts jobs in the environment that the agent gives them; their results land in `results`."""

    def __init__(
        self,
        app: App,
        method: StartMethod,
        results: Path,
        *,
        overrides_of: Callable[[Run], Sequence[str]],
        number_of: Callable[[Run], int],
    ) -> None:
        self._app = app
        self._overrides_of = overrides_of
        self.number_of = number_of
        self._method = method
        self._results = results
        self._composer = Composer(app)
        self._cwd = Path.cwd()
        self._seeds = current_seeds()

    def check(self, sweep: Sweep) -> None:
        """Do nothing: the application is here."""

    def compose(self, run: Run) -> Any:
        """Give the config of a run's job."""
        return self._composer.compose(self._overrides_of(run), self.number_of(run))

    def shown(self, run: Run) -> list[str]:
        """Give a run's overrides that are not for Hydra itself."""
        return [line for line in self._overrides_of(run) if not line.startswith("hydra.")]

    def blank(self, run: Run) -> JobReturn:
        """Give a FAILED JobReturn for a run whose process left none."""
        from hydra.core.utils import JobReturn, JobStatus

        overrides = self.shown(run)
        try:
            return blank_return(self.compose(run))
        except Exception:  # noqa: BLE001 - Hydra's own, or OmegaConf's; it is why the job failed
            return JobReturn(overrides=overrides, status=JobStatus.FAILED)

    def result(self, run: Run) -> Path:
        """Give the file that the latest attempt at a run leaves its JobReturn in."""
        return self._results / f"{run.id}.{run.attempt}"

    def start(
        self,
        run: Run,
        sweep: Sweep,
        folder: RunFolder,
        *,
        environment: Mapping[str, str],
        on_end: Callable[[], None],
    ) -> Child:
        """Start a run's job; raises what Hydra does if its overrides are wrong."""
        result = self.result(run)
        whole = child_environment(os.environ, environment)
        if self._method == "fork":
            compose = self._composer.prepare(self._overrides_of(run), self.number_of(run))
            child: Child = fork(
                lambda: perform(Task(self._app, compose(), sweep.metric, result)),
                seeds=self._seeds,
                number=self.number_of(run),
                environment=whole,
                output=folder.output,
                on_end=on_end,
            )
        else:
            task = Task(self._app, self.compose(run), sweep.metric, result)
            child = start_child(
                [sys.executable, "-m", "besom_hydra.spawned", str(self._payload(task))],
                environment=whole,
                folder=self._cwd,
                output=folder.output,
                on_end=on_end,
            )
        return _Accountable(child, result, folder.output)

    def _payload(self, task: Task) -> Path:
        from besom_hydra.spawned import payload

        path = task.result.with_suffix(".task")
        path.write_bytes(payload(task))
        return path


@dataclass(frozen=True, slots=True)
class _Accountable:
    """A job's process, whose exit code 0 counts only if it left a result: `os._exit(0)` is no success."""

    child: Child
    result: Path
    output: Path

    def signal(self, number: int) -> None:
        self.child.signal(number)

    def reap(self) -> int:
        code = self.child.reap()
        if code == 0 and not self.result.exists():
            with self.output.open("a") as file:
                file.write("the job's process ended before its function returned\n")
            return 1
        return code
