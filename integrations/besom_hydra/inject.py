"""Puts a run's parameters into a config that the program composed itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from besom.errors import UsageError
from besom_hydra.arguments import is_group_key, split_override

if TYPE_CHECKING:
    from omegaconf import DictConfig


def inject(cfg: DictConfig, params: Mapping[str, Any] | None = None) -> DictConfig:
    """Give a copy of `cfg` with this run's parameters in it; `cfg` itself stays as it is.

    For functions that `besom.agent` calls, and programs that use Hydra's `compose`. `params` are the run's
    unless given, nested or by dotted names; outside a sweep there are none. What the config does not have is
    added, mappings are merged, lists replaced. Where the config is a structured one, UsageError when a value
    is of the wrong type or a key is none of its fields; and for config groups, which are chosen when a config
    is composed: give those to `compose(overrides=...)`.
    """
    import copy

    from omegaconf import OmegaConf, read_write
    from omegaconf.errors import OmegaConfBaseException

    given = _own_params() if params is None else params
    made = copy.deepcopy(cfg)
    with read_write(made):
        for name, value in given.items():
            key = split_override(name)[1] or name
            if is_group_key(key):
                raise UsageError(
                    f"{key} is a config group, which a composed config no longer has; give it to"
                    " compose(overrides=...)"
                )
            try:
                OmegaConf.update(made, key, value, merge=True, force_add=not _is_typed(made, key))
            except (OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
                first = str(error).strip().splitlines()[0]
                raise UsageError(f"parameter {key} does not fit the config: {first}") from error
    return made


def _is_typed(cfg: Any, key: str) -> bool:
    """Say whether the mapping that holds `key` is a structured config, whose fields are all there are."""
    from omegaconf import DictConfig, OmegaConf

    parent = OmegaConf.select(cfg, key.rpartition(".")[0]) if "." in key else cfg
    return (
        isinstance(parent, DictConfig)
        and isinstance(OmegaConf.get_type(parent), type)
        and (OmegaConf.get_type(parent) is not dict)
    )


def _own_params() -> Mapping[str, Any]:
    """Give the parameters of this process's run; none outside a sweep."""
    import json

    from besom.run import sweep_folder

    folder = sweep_folder()
    if folder is None:
        return {}
    params: Mapping[str, Any] = json.loads(folder.params_file.read_text(encoding="utf-8"))
    return params
