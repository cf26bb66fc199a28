"""`hydra/launcher=besom`: every job in a process of its own, as a run of a besom sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

from hydra_plugins.besom._conf import BesomLauncherConf

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from besom_hydra.launch import Batches

ConfigStore.instance().store(group="hydra/launcher", name="besom", node=BesomLauncherConf, provider="besom")


class BesomLauncher(Launcher):
    """Runs batches of jobs for any sweeper; besom's own runs its jobs one by one with the same options."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._batches: Batches | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the application."""
        from besom_hydra.app import App
        from besom_hydra.launch import Batches
        from besom_hydra.work import LaunchOptions

        self._batches = Batches(App(hydra_context, task_function, config), LaunchOptions.read(self.options))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs; gives their results in the same order."""
        assert self._batches is not None, "Hydra calls setup first"
        return self._batches.launch(job_overrides, initial_job_idx)
