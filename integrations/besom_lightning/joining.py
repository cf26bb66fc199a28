"""How the processes of a Trainer find the run that they work for."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
from collections.abc import Mapping
from typing import Any

from besom.run import LiveRun, this_run


def find_run(handed: Mapping[str, str] | None = None) -> LiveRun | None:
    """Give this process's run, None where it has none.

    `handed` is what the process that spawned this one gave it, for runs that are not in the environment.
    """
    if handed and "BESOM_RUN_ID" not in os.environ and handed.get("BESOM_AGENT_PID") == str(os.getppid()):
        os.environ.update(handed)
    return this_run()


def handed_on() -> dict[str, str]:
    """Give what makes a process that this one spawns find the same run; empty where there is none."""
    run = this_run()
    return dict(run.environment) if run is not None else {}


def keeps(run: LiveRun) -> bool:
    """Say whether this process is the one of its group that writes to the run.

    A process that was forked inherits the writing end, also where it is not rank 0.
    """
    if run.inherited:
        return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
    return bool(run.environment)


@functools.cache
def leave_gloo_at_exit() -> None:
    """Make this process leave its group in order when it ends, as Lightning does for NCCL alone.

    A thread of gloo's that still holds a tensor while Python is torn down aborts the process, and a run
    whose work was done would end as failed.
    """
    atexit.register(_leave_gloo)


def _leave_gloo() -> None:
    distributed: Any = importlib.import_module("torch.distributed")
    if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()
