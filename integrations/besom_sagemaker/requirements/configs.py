"""The classes that configuration files name: Hydra's `_target_`, LightningCLI's `class_path`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

KEYS = frozenset({"_target_", "class_path"})
LEFT_OUT = frozenset(
    {"outputs", "multirun", "wandb", "mlruns", "lightning_logs", "node_modules", "__pycache__"}
)
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def config_targets(root: Path, folders: Sequence[Path]) -> Iterator[tuple[str, Path, int]]:
    """Give the dotted names in the YAML files of these folders, or of `root` if none; with file and line.

    A file that is not YAML, and a name that is computed (`${...}`), is left out.
    """
    import yaml

    for path in sorted({file for folder in folders or [root] for file in _yaml_files(folder)}):
        try:
            text = path.read_text(encoding="utf-8")
            documents: list[Any] = list(yaml.compose_all(text, Loader=yaml.SafeLoader))  # pyright: ignore
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            logger.debug("%s is not read: %s", path, error)
            continue
        for document in documents:
            for name, line in _names(document):
                yield name, path, line


def _yaml_files(folder: Path) -> Iterator[Path]:
    for at, below, files in os.walk(folder):
        below[:] = [name for name in below if name not in LEFT_OUT and not name.startswith(".")]
        yield from (Path(at, name) for name in files if name.endswith((".yaml", ".yml")))


def _names(node: Any) -> Iterator[tuple[str, int]]:
    """Give the values of the keys that name classes, below a YAML node."""
    import yaml

    waiting: list[Any] = [node]
    seen: set[int] = set()  # an alias may lead into itself
    while waiting:
        at = waiting.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, yaml.SequenceNode):
            waiting += at.value
        elif isinstance(at, yaml.MappingNode):
            for key, value in at.value:
                if isinstance(value, yaml.ScalarNode) and key.value in KEYS and DOTTED.fullmatch(value.value):
                    yield value.value, value.start_mark.line + 1
                waiting.append(value)
