"""The classes that a Trainer takes, made of besom's part and the base classes of the loaded import roots.

`lightning.pytorch` and `pytorch_lightning` are two copies of the same classes. A class that has the bases of
every root that is loaded passes the checks of each; importing the other one would only cost time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from typing import Any, cast

from besom.errors import UsageError

ROOTS = ("lightning.pytorch", "pytorch_lightning")
_PARTS = {
    "SweepCallback": ("besom_lightning.callback:SweepHooks", "callbacks:Callback"),
    "SweepLogger": ("besom_lightning.logger:SweepLogging", "loggers:Logger"),
}


def made(name: str) -> type[Any]:
    """Give the class SweepCallback or SweepLogger for the roots that are loaded now, the same one each time.

    Where none is loaded, the installed one is. UsageError if Lightning is not installed.
    """
    return _made(name, loaded_roots())


def loaded_roots() -> tuple[str, ...]:
    """Give the import roots in use; where there is none yet, the first that is installed."""
    loaded = tuple(root for root in ROOTS if root in sys.modules)
    if loaded:
        return loaded
    for root in ROOTS:
        if importlib.util.find_spec(root.partition(".")[0]) is not None:
            return (root,)
    raise UsageError("besom_lightning needs Lightning; `pip install 'besom[lightning]'` brings it")


def rebuilt(name: str) -> Any:
    """Give an empty object of the class `name`; what a pickled one begins as in another process."""
    found = made(name)
    return cast("Any", found).__new__(found)


@functools.cache
def _made(name: str, roots: tuple[str, ...]) -> type[Any]:
    own, theirs = _PARTS[name]
    bases = [_get(own), *(_get(f"{root}.{theirs}") for root in roots)]
    return type(name, tuple(bases), {"__doc__": bases[0].__doc__, "__module__": "besom_lightning"})


def _get(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
