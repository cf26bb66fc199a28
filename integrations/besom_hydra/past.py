"""Where a run's folder is, and the return of a job that ended in an earlier call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from besom.jsonable import is_dict
from besom.records import Metric, Run
from besom.summarize import summary_value
from besom_hydra.returned import RETURNED
from besom_hydra.work import run_number

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

    from besom_hydra.app import App

_BY_NUMBER = "${hydra.job.num}"


def job_folder(app: App, run: Run, line: Sequence[str]) -> Path:
    """Give the folder of a run's job: where it said it was, else by `hydra.sweep`."""
    told = run.config.get("hydra")
    if is_dict(told) and "output_dir" in told:  # it ran under an agent elsewhere
        return Path(str(told["output_dir"]))
    sweep: Any = app.config.hydra.sweep
    folder = Path(str(sweep.dir)).absolute()
    words: Any = OmegaConf.to_container(sweep, resolve=False)
    if words["subdir"] == _BY_NUMBER:
        return folder / str(run_number(run))
    config = app.hydra_context.config_loader.load_sweep_config(app.config, list(line))
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = run_number(run)
    return folder / str(OmegaConf.select(config, "hydra.sweep.subdir"))


def past_return(app: App, run: Run, line: Sequence[str]) -> JobReturn:
    """Give what a finished run's job returned, from its folder and the store.

    Its value is the number that counts for the sweep, or that its task returned; its configs are None where
    their files are gone.
    """
    from hydra.core.utils import JobReturn, JobStatus

    folder = job_folder(app, run, line)
    kept = folder / str(app.config.hydra.output_subdir)
    overrides = _load(kept / "overrides.yaml")
    hydra_config = _load(kept / "hydra.yaml")
    value = run.value if run.value is not None else summary_value(run.summary, Metric(RETURNED))
    chdir = bool(hydra_config.hydra.job.chdir) if hydra_config is not None else False
    return JobReturn(
        overrides=list(line) if overrides is None else list(overrides),
        cfg=_load(kept / "config.yaml"),
        hydra_cfg=hydra_config,
        working_dir=str(folder if chdir or hydra_config is None else hydra_config.hydra.runtime.cwd),
        task_name=str(app.config.hydra.job.name),
        status=JobStatus.COMPLETED,
        _return_value=value,
    )


def _load(path: Path) -> Any:
    try:
        return OmegaConf.load(path)
    except (OSError, ValueError, OmegaConfBaseException):
        return None
