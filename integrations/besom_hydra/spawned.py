"""A job in a new interpreter: `python -m besom_hydra.spawned PAYLOAD`.

The payload holds the task, pickled by cloudpickle because functions of a script are no module's, and the
state of Hydra's singletons: config sources, resolvers, plugins.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

from besom.errors import UsageError
from besom_hydra.job import Task


def payload(task: Task) -> bytes:
    """Pickle a task for a new interpreter; UsageError where cloudpickle is missing or cannot."""
    from hydra.core.singleton import Singleton

    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError(
            "to start jobs in new interpreters (hydra.launcher.start_method=spawn), `pip install cloudpickle`"
        ) from error
    try:
        dumps: Any = getattr(cloudpickle, "dumps")  # noqa: B009 - it has no types
        inner = (dumps(Singleton.get_state()), dumps(task))
    except Exception as error:
        raise UsageError(
            "the job cannot be sent to a new interpreter (hydra.launcher.start_method=spawn): "
            f"{type(error).__name__}: {error}"
        ) from error
    return pickle.dumps((os.getpid(), sys.path, inner))


def main(path: str) -> int:
    """Perform the task in a file, which is deleted; gives the exit code."""
    from besom_hydra.fork import die_with

    file = Path(path)
    parent, sys.path[:], (state, inner) = pickle.loads(file.read_bytes())  # noqa: S301 - our parent wrote it
    file.unlink()
    die_with(parent)
    from hydra.core.singleton import Singleton
    from hydra.core.utils import setup_globals

    setup_globals()
    # Before the task, whose parts look for plugins.
    Singleton.set_state(pickle.loads(state))  # noqa: S301
    task: Task = pickle.loads(inner)  # noqa: S301
    from besom_hydra.job import perform

    return perform(task)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
