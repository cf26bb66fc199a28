"""Composes the configs of a multirun's jobs, and composes only once what most of them have in common.

Composing takes Hydra 60 ms; setting values in a copy of a composed config takes 4. Jobs of a sweep mostly
differ in plain values (`lr=0.1`), and then the two give the same. So of the jobs with the same keys and the
same choices from groups, the first is composed in full, and the others are copies of it with their values;
the first copy is compared with a full composition, and where they differ there are no more copies. Jobs that
delete a key, set a mapping (which is merged into what is there), an interpolation, or something of Hydra's
own are always composed in full.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from besom_hydra.app import App

    _Maker = Callable[[Callable[[DictConfig], DictConfig]], DictConfig]
    """Makes a config; its argument gives a config of its own for the one that is kept."""

log = logging.getLogger(__name__)

_KEPT = 64  # composed configs, of about 100 kB each


@dataclass(slots=True)
class _Base:
    """The config of a job with certain keys."""

    config: DictConfig
    copies: bool | None = None  # None: no copy has been compared yet


class Composer:
    """Gives each job's config as Hydra's `load_sweep_config` does."""

    def __init__(self, app: App) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        self._loader = app.hydra_context.config_loader
        self._config = app.config
        self._parser = OverridesParser.create(config_loader=self._loader)
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._groups: dict[str, bool] = {}  # what Hydra needs 10 ms to say

    def compose(self, overrides: Sequence[str], number: int) -> DictConfig:
        """Give the config of a job, with `hydra.job.num` and `hydra.job.id` set.

        Raises what Hydra raises for overrides that are wrong.
        """
        return _numbered(self._made_from(overrides)(copy.deepcopy), number)

    def prepare(self, overrides: Sequence[str], number: int) -> Callable[[], DictConfig]:
        """Give a function that gives the config of a job, for a fork of this process to call.

        It spares the copy: what it changes, other jobs are made from. Raises what Hydra raises for overrides
        that are wrong; the function does for values that do not fit.
        """
        make = self._made_from(overrides)
        return lambda: _numbered(make(lambda base: base), number)

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        return self._loader.load_sweep_config(self._config, list(overrides))

    def _made_from(self, overrides: Sequence[str]) -> _Maker:
        parsed = self._parser.parse_overrides(list(overrides))
        words = tuple(self._word(override) for override in parsed)
        base = self._bases.get(words)
        if base is not None and base.copies:
            return lambda copied: self._patched(copied(base.config), parsed)
        whole = self._composed(overrides)
        if all(words):
            self._learn(words, parsed, whole)
        return lambda copied: whole

    def _learn(self, words: tuple[str, ...], parsed: Sequence[Override], whole: DictConfig) -> None:
        """Keep what a job was composed to, or compare it with what a copy of the one kept would have been."""
        base = self._bases.get(words)
        if base is None:
            if len(self._bases) < _KEPT:
                self._bases[words] = _Base(copy.deepcopy(whole))
        elif base.copies is None:
            base.copies = _same(self._patched(copy.deepcopy(base.config), parsed), whole)
            if not base.copies:
                log.debug("jobs with the keys %s are composed in full, each", " ".join(words))

    def _word(self, override: Override) -> str:
        """Give what two jobs must have in common: the key of a plain value, else the whole override.

        "" for what can be composed in full only.
        """
        key = override.key_or_group
        line = override.input_line or ""
        if override.is_delete() or key.startswith("hydra") or override.is_sweep_override():
            return ""
        if override.package is not None or self._is_group(key):
            return line
        if not _plain(override.value()):
            return ""
        return line.partition("=")[0]

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]

    def _patched(self, config: DictConfig, parsed: Sequence[Override]) -> DictConfig:
        from hydra._internal.config_loader_impl import get_overrides_dirname
        from omegaconf import OmegaConf, open_dict

        for override in parsed:
            if override.package is None and not self._is_group(override.key_or_group):
                with open_dict(config):
                    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        job = config.hydra.job
        config.hydra.overrides.task = [override.input_line for override in parsed]
        words = job.config.override_dirname
        job.override_dirname = get_overrides_dirname(
            overrides=list(parsed),
            kv_sep=words.kv_sep,
            item_sep=words.item_sep,
            exclude_keys=words.exclude_keys,
        )
        OmegaConf.copy_cache(from_config=self._config, to_config=config)
        return config


def _numbered(config: DictConfig, number: int) -> DictConfig:
    from omegaconf import open_dict

    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    return config


def _plain(value: Any) -> bool:
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return "$" not in value.text
    if type(value) is list:
        return all(map(_plain, value))  # pyright: ignore[reportUnknownArgumentType]
    return value is None or isinstance(value, (bool, int, float)) or (type(value) is str and "$" not in value)


def _same(one: DictConfig, other: DictConfig) -> bool:
    from omegaconf import OmegaConf

    # As text, because 1, 1.0 and True are equal.
    return OmegaConf.to_yaml(one) == OmegaConf.to_yaml(other)
