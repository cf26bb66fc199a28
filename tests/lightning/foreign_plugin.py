# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

"""A pytest plugin that puts besom's classes in the way of Lightning's own tests.

With BESOM_FOREIGN=logger, `loggers/test_all.py` is run with SweepLogger in the place of Lightning's loggers;
with BESOM_FOREIGN=callback, every Trainer that a test makes has a SweepCallback, at work for a run.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

import pytest

KIND = os.environ.get("BESOM_FOREIGN")


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

    if KIND == "callback":
        besom.init()  # without a run the callback would do nothing
    try:
        return (yield)
    finally:
        besom.finish()


def pytest_configure() -> None:
    if KIND != "callback":
        return
    from besom_lightning import SweepCallback

    pl: Any = importlib.import_module("lightning.pytorch")
    made = pl.Trainer.__init__

    @functools.wraps(made)
    def with_callback(self: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.get("callbacks")
        listed = given if isinstance(given, list) else [] if given is None else [given]
        made(self, *args, **{**kwargs, "callbacks": [*listed, SweepCallback()]})

    pl.Trainer.__init__ = with_callback
