# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""A pytest plugin that puts besom's classes in the way of Lightning's own tests.

With BESOM_FOREIGN=logger, `loggers/test_all.py` and `loggers/test_logger.py` are run with SweepLogger in the
place of the loggers there. With BESOM_FOREIGN=callback, every Trainer that a test makes has a SweepCallback,
at work for a run; with `callback-in-place` it leaves checkpoints where the test looks for them.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

import pytest

KIND = os.environ.get("BESOM_FOREIGN", "")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: Any) -> None:
    if KIND != "logger":
        return
    from besom_lightning import SweepLogger

    for mark in metafunc.definition.iter_markers("parametrize"):
        if mark.args[0] == "logger_class":
            object.__setattr__(mark, "args", ("logger_class", [SweepLogger]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Any:
    """End the run as the end of a program does; those suites look for threads that outlive a test."""
    import besom

    if KIND.startswith("callback"):
        besom.init()  # without a run the callback would do nothing
    try:
        return (yield)
    finally:
        besom.finish()


def pytest_collection_modifyitems(items: list[Any]) -> None:
    if KIND != "logger":
        return
    from besom_lightning import SweepLogger

    for module in {item.module for item in items if item.module.__name__.endswith(".test_logger")}:
        module.CustomLogger = recording(module.CustomLogger)
        module.TensorBoardLogger = SweepLogger
        # Some tests patch a method of it by its full name.
        theirs: Any = importlib.import_module("lightning.pytorch.loggers.tensorboard")
        theirs.TensorBoardLogger = SweepLogger


def recording(theirs: Any) -> Any:
    """Give a SweepLogger that also notes what the tests' own logger notes, under its importable name."""
    from besom_lightning import SweepLogger

    base: Any = SweepLogger

    class Recording(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.hparams_logged: Any = None
            self.metrics_logged: Any = {}
            self.after_save_checkpoint_called = False

        def log_hyperparams(self, params: Any) -> None:
            super().log_hyperparams(params)
            self.hparams_logged = params

        def log_metrics(self, metrics: Any, step: int) -> None:
            super().log_metrics(metrics, step)
            self.metrics_logged = metrics

        def finalize(self, status: str) -> None:
            super().finalize(status)
            self.finalized_status = status

        def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
            super().after_save_checkpoint(checkpoint_callback)
            self.after_save_checkpoint_called = True

    Recording.__module__, Recording.__qualname__ = theirs.__module__, theirs.__qualname__
    return Recording


def leave_in_place(trainer: Any, run: Any) -> None:
    """Do nothing, where SweepCallback would name the run's folder."""


def pytest_configure() -> None:
    if not KIND.startswith("callback"):
        return
    from besom_lightning import SweepCallback, callback

    pl: Any = importlib.import_module("lightning.pytorch")
    made = pl.Trainer.__init__

    @functools.wraps(made)
    def with_callback(self: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.get("callbacks")
        listed = given if isinstance(given, list) else [] if given is None else [given]
        made(self, *args, **{**kwargs, "callbacks": [*listed, SweepCallback()]})

    pl.Trainer.__init__ = with_callback
    if KIND == "callback-in-place":
        module: Any = callback
        module.keep_in_run_folder = leave_in_place
