"""Finds `@hydra.main(...)` in a program's source code, without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

UNSAID = "unsaid"  # what @hydra.main was not given


@dataclass(frozen=True, slots=True)
class MainCall:
    """What `@hydra.main` was given, as far as constants tell."""

    config_path: str | None = UNSAID
    config_name: str | None = None
    version_base: str | None = UNSAID

    def config_dir(self, program: Path) -> str | None:
        """Give the folder of the configs as Hydra's search path has it; None when the app has none."""
        path = self.config_path
        if path == UNSAID:
            path = "." if self.version_base in (UNSAID, "1.1") else None
        if path is None or path.startswith("pkg://"):
            return path
        return str((program.resolve().parent / path).resolve())


def find_main(source: str) -> MainCall | None:
    """Give the first function's `@hydra.main`, under whatever name it was imported; None if there is none."""
    if "hydra" not in source:
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    names = _names_of_main(tree)
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (ast.unparse(node.func) in names or _is_zen(node.func)):
            return _read_call(node, constants)
    return None


def _is_zen(function: ast.expr) -> bool:
    """Say whether this is `zen(task).hydra_main`, which takes the same arguments."""
    return isinstance(function, ast.Attribute) and function.attr == "hydra_main"


def _names_of_main(tree: ast.Module) -> set[str]:
    """Give what `hydra.main` is called in this module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {f"{item.asname or item.name}.main" for item in node.names if item.name == "hydra"}
            names |= {
                f"{item.asname}.main" for item in node.names if item.name == "hydra.main" and item.asname
            }
        elif isinstance(node, ast.ImportFrom) and node.module in ("hydra", "hydra.main"):
            names |= {item.asname or item.name for item in node.names if item.name == "main"}
    return names


def _constants(tree: ast.Module) -> dict[str, str | None]:
    """Give the module's names that stand for text."""
    found: dict[str, str | None] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            value = node.value.value
            if value is None or isinstance(value, str):
                found |= {target.id: value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _read_call(call: ast.Call, constants: dict[str, str | None]) -> MainCall:
    given: dict[str, str | None] = {}
    order = ("config_path", "config_name", "version_base")
    pairs = [*zip(order, call.args, strict=False), *((item.arg, item.value) for item in call.keywords)]
    for name, value in pairs:
        if name not in order:
            continue
        if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
            given[name] = value.value
        elif isinstance(value, ast.Name) and value.id in constants:
            given[name] = constants[value.id]
    return MainCall(**given)
