"""The application that a multirun is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass(frozen=True, slots=True)
class App:
    """A Hydra application as Hydra hands it to a launcher or sweeper; `config` is the multirun's."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
