"""SweepCLI: a LightningCLI that takes its part in a sweep, and is a plain LightningCLI outside every sweep.

The class is made when its name is first used, from the LightningCLI of the import root that the program uses:
`lightning.pytorch` or `pytorch_lightning`.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import besom
from besom.run import LiveRun, sweep_folder
from besom_lightning.roots import loaded_roots, made

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    if name == "SweepCLI":
        return sweep_cli()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def sweep_cli(base: type[Any] | None = None) -> type[Any]:
    """Give a class that does what `base` does, and in a sweep what `InSweep` says; the same one each time.

    `base` is any LightningCLI class, by default that of the import root that is loaded (`lightning.pytorch`
    where both are). UsageError if Lightning is not installed.
    """
    return _made(cast("Any", base or _loaded()))


@functools.cache
def _made(base: Any) -> type[Any]:
    return type(
        "SweepCLI", (InSweep, base), {"__doc__": InSweep.__doc__, "__module__": __name__, "_of": base}
    )


def _blank(base: Any) -> Any:
    """Give an object of the class made from `base`; what a pickled one begins as in another process."""
    kind: Any = _made(base)
    return kind.__new__(kind)


def _loaded() -> type[Any]:
    there = loaded_roots()
    named = [root for root in there if f"{root}.cli" in sys.modules]
    found: type[Any] = importlib.import_module(f"{[*named, *there][0]}.cli").LightningCLI
    return found


class InSweep:
    """A LightningCLI whose config ends with its run's parameters.

    In a sweep it also adds a SweepCallback and a SweepLogger unless it was given ones, keeps what the run
    writes in the run's folder, and goes on from the run's checkpoint when it was interrupted. The sweep's
    parameters win over config files, over the command line, and over the hyperparameters in a checkpoint.
    """

    # What LightningCLI, the next class in line, brings.
    config: Any
    config_init: Any
    parser: Any
    subcommand: str | None
    trainer_defaults: dict[str, Any]
    _get: Any
    _parser: Any

    _swept: str | None = None  # the path of the file with the run's parameters

    def __reduce_ex__(self, protocol: Any) -> Any:
        base = vars(type(self)).get("_of")
        return super().__reduce_ex__(protocol) if base is None else (_blank, (base,), self.__dict__)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse the arguments, and the run's parameters behind them."""
        folder, plain = sweep_folder(), cast("Any", super())
        given: Sequence[str] | None = args
        if folder is None:
            plain.parse_arguments(parser, args)
            return
        self._swept = str(folder.params_file)
        if args is not None and not isinstance(args, Sequence):
            plain.parse_arguments(parser, args)
            self._put_sweep_on_top()
            return
        words = sys.argv[1:] if given is None else [*given]
        _tell_what_loses(words, _read(self._swept))
        self.config = parser.parse_args([*words, "--config", self._swept])

    def instantiate_classes(self) -> None:
        """Attach to the run, then make model, data and trainer."""
        if self._swept is not None:
            besom.init()
            self._put_sweep_on_top()  # LightningCLI has read a checkpoint's hyperparameters meanwhile
        cast("Any", super()).instantiate_classes()
        self._go_on()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Make the trainer, with what makes it report to the sweep."""
        run = self._run()
        if run is not None:
            given: dict[str, Any] = {**self._get(self.config_init, "trainer", default={}), **kwargs}
            kept = [*_as_list(self.trainer_defaults.get("callbacks")), *self._own_callbacks()]
            kwargs |= trainer_arguments(run, given, kept)
        return cast("Any", super()).instantiate_trainer(**kwargs)

    def _go_on(self) -> None:
        """Make `fit` begin with the checkpoint of the attempt that was interrupted, if there was one."""
        run = self._run()
        path = run.resume_path if run is not None and self.subcommand == "fit" else None
        if path is not None:
            arguments = self.config_init["fit"]
            arguments["ckpt_path"] = str(path)
            if "weights_only" in arguments:
                arguments["weights_only"] = False  # the run has written it itself

    def _run(self) -> LiveRun | None:
        return None if self._swept is None else besom.init()

    def _own_callbacks(self) -> list[Any]:
        return [self._get(self.config_init, key) for key in self._parser(self.subcommand).callback_keys]

    def _put_sweep_on_top(self) -> None:
        assert self._swept is not None
        swept: Any = _read(self._swept)
        chosen = self.config.get("subcommand")
        values = {chosen: swept} if chosen else swept
        self.config = self.parser.parse_object(values, self.config)


def trainer_arguments(run: LiveRun, given: Mapping[str, Any], kept: Iterable[Any] = ()) -> dict[str, Any]:
    """Give the arguments by which a Trainer with those `given` reports to `run`, in the run's own folder.

    A SweepCallback or SweepLogger among `given`, or among the callbacks in `kept`, is left as it is, and so
    is `logger=False`.
    """
    from besom_lightning.callback import SweepHooks
    from besom_lightning.logger import SweepLogging

    callbacks = _as_list(given.get("callbacks"))
    arguments: dict[str, Any] = {}
    if not any(isinstance(item, SweepHooks) for item in (*callbacks, *kept)):
        arguments["callbacks"] = [*callbacks, made("SweepCallback")()]
    loggers = given.get("logger")
    if loggers is None or loggers is True:
        arguments["logger"] = made("SweepLogger")()
    elif loggers is not False and not any(isinstance(item, SweepLogging) for item in _as_list(loggers)):
        arguments["logger"] = [*_as_list(loggers), made("SweepLogger")()]
    if given.get("default_root_dir") is None:
        arguments["default_root_dir"] = str(run.dir)
    return arguments


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return [*cast("list[Any]", value)] if isinstance(value, (list, tuple)) else [value]


def _read(path: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return values


def _tell_what_loses(words: Sequence[str], swept: Mapping[str, Any]) -> None:
    """Warn of words on the command line that set what the sweep sets too."""
    names = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    for name in sorted(names & set(_dotted(swept))):
        logger.warning("--%s on the command line is ignored: the sweep has set %s", name, name)


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
