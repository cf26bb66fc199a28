"""What `hydra/launcher=besom` can be told; `besom_hydra.work.LaunchOptions` says what each word means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional  # noqa: UP035


@dataclass
class BesomLauncherConf:
    """The fields of `hydra.launcher`, in the types that OmegaConf knows."""

    _target_: str = "hydra_plugins.besom.launcher.BesomLauncher"
    workers: Optional[int] = None  # noqa: UP045 - OmegaConf resolves annotations on Python 3.10, too
    gpus_per_job: int = 0
    timeout: Optional[float] = None  # noqa: UP045
    retries: int = 0
    grace: float = 30.0
    start_method: str = "auto"
    wait: bool = True
    backend: Optional[str] = None  # noqa: UP045
    backend_options: Dict[str, Any] = field(default_factory=dict[str, Any])  # noqa: UP006
