"""Where a run's checkpoints go, which one was saved last, and what one of another run may not bring."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from besom.run import LiveRun

logger = logging.getLogger(__name__)

PREEMPTED = "preempted.ckpt"
"""What is saved in a run's folder of checkpoints when the process has to go."""


def keep_in_run_folder(trainer: Any, run: LiveRun) -> None:
    """Make what has no place of its own go to the run's folder, before the Trainer's own setup.

    A ModelCheckpoint with a `dirpath` keeps it; where the other runs of the sweep would share it, that is
    said.
    """
    if Path(trainer.default_root_dir).absolute() == Path.cwd():  # the default
        trainer._default_root_dir = str(run.dir)  # noqa: SLF001 - there is no other way after its construction
    for callback in trainer.callbacks if run.resumed else ():
        if any(kind.__name__ == "SaveConfigCallback" for kind in type(callback).__mro__):
            callback.overwrite = True  # LightningCLI's config.yaml of the attempt before
    for callback in trainer.checkpoint_callbacks:
        if not hasattr(callback, "dirpath"):
            continue
        if callback.dirpath is None:
            callback.dirpath = str(run.dir / "checkpoints")
        elif run.sweep_id and not _is_own(Path(callback.dirpath), run) and trainer.is_global_zero:
            logger.warning(
                "every run of sweep %s saves its checkpoints in %s; leave out ModelCheckpoint's dirpath, and "
                "they go to the folder of each run, or put the run's id (besom.init().id) into it",
                run.sweep_id,
                callback.dirpath,
            )


def _is_own(dirpath: Path, run: LiveRun) -> bool:
    return run.dir in dirpath.absolute().parents or run.id in str(dirpath)


def saved(trainer: Any) -> Iterator[Path]:
    """Give the checkpoint that each ModelCheckpoint saved last, where one can go on from it."""
    for callback in trainer.checkpoint_callbacks:
        path = last_saved(callback)
        if path is not None:
            yield path


def last_saved(callback: Any) -> Path | None:
    """Give the checkpoint that a ModelCheckpoint saved last; None before, and for weights alone."""
    if getattr(callback, "save_weights_only", False):
        return None
    names = ("_last_checkpoint_saved", "last_model_path", "best_model_path")
    return next((Path(path) for name in names if (path := getattr(callback, name, ""))), None)


def own_settings(optimizers: list[Any]) -> list[list[dict[str, Any]]]:
    """Give what each group of each optimizer is set to: the learning rate and its like."""
    return [
        [
            {name: value for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]
        for optimizer in optimizers
    ]


def restore_settings(trainer: Any, own: list[list[dict[str, Any]]]) -> None:
    """Put the program's settings in the place of those that came with another run's checkpoint.

    How far a learning rate schedule had come stays: the rate is the program's, scaled as the other was.
    """
    for optimizer, groups in zip(trainer.optimizers, own, strict=True):
        for group, settings in zip(optimizer.param_groups, groups, strict=False):
            scale = group["lr"] / group["initial_lr"] if group.get("initial_lr") else 1.0
            group.update(settings)
            if "initial_lr" in group:
                group["lr"] = group["initial_lr"] * scale
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        if hasattr(scheduler, "base_lrs"):
            groups_of = scheduler.optimizer.param_groups
            scheduler.base_lrs = [group.get("initial_lr", group["lr"]) for group in groups_of]
