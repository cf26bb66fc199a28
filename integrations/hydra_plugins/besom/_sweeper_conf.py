"""The fields of `hydra.sweeper` when it is besom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional  # noqa: UP035 - OmegaConf evaluates these on Python 3.10 as well


@dataclass
class BesomSweeperConf:
    """Data only: Hydra 1.4 does not instantiate what lies inside a sweeper's config."""

    _target_: str = "hydra_plugins.besom.sweeper.BesomSweeper"
    method: Optional[str] = None  # noqa: UP045
    metric: Any = None
    count: Optional[int] = None  # noqa: UP045
    parallel: Optional[int] = None  # noqa: UP045
    early_terminate: Any = None  # a typed mapping could not be set on the command line while it is None
    seed: Optional[int] = None  # noqa: UP045
    resume: str = "auto"
    retries: Optional[int] = None  # noqa: UP045
    max_failures: Optional[int] = None  # noqa: UP045
    fail_fast: bool = False
    max_batch_size: Optional[int] = None  # noqa: UP045
    spec: Optional[str] = None  # noqa: UP045
    store: Optional[str] = None  # noqa: UP045
    params: Dict[str, str] = field(default_factory=dict[str, str])  # noqa: UP006
