"""`hydra/sweeper=besom`: the class that Hydra finds; `besom_hydra.sweep` does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper

from hydra_plugins.besom._sweeper_conf import BesomSweeperConf

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

ConfigStore.instance().store(group="hydra/sweeper", name="besom", node=BesomSweeperConf, provider="besom")


class BesomSweeper(Sweeper):
    """Runs a multirun as a besom sweep: durable, resumable, with any launcher."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives to every sweeper, and make the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the arguments describe; gives its jobs' returns, in batches like Hydra's own."""
        from besom_hydra.app import App
        from besom_hydra.sweep import sweep

        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        assert self.launcher is not None
        app = App(self.hydra_context, self.task_function, self.config)
        return sweep(app, self.launcher, self.options, arguments)
