"""besom for Lightning: a callback, a logger and a command line that make a Trainer part of a sweep.

    trainer = Trainer(logger=SweepLogger(), callbacks=[SweepCallback()])

The classes are made when they are first named, from the import roots that the program has loaded
(`lightning.pytorch`, `pytorch_lightning`), so the other root is never imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from besom_lightning.callback import SweepHooks as SweepCallback
    from besom_lightning.cli import InSweep as SweepCLI
    from besom_lightning.logger import SweepLogging as SweepLogger

__all__ = ["SweepCLI", "SweepCallback", "SweepLogger"]


def __getattr__(name: str) -> Any:
    if name == "SweepCLI":
        from besom_lightning.cli import sweep_cli

        return sweep_cli()
    if name in __all__:
        from besom_lightning.roots import made

        return made(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
