"""Which modules a program imports: its entry point, the local modules that reaches, and its configuration.

Nothing is imported or run: Python is read as syntax trees, YAML as nodes.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from besom.errors import NotFoundError, UsageError
from besom_sagemaker.requirements.configs import config_targets

CONFIG_READERS = frozenset({"hydra", "omegaconf", "jsonargparse"})
"""Modules whose users name classes in YAML files."""


class Need(Enum):
    """How much a program needs an import."""

    REQUIRED = "required"
    OPTIONAL = "optional"  # it goes on without
    NEVER = "never"  # not at run time: `if TYPE_CHECKING`, `if False`


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, as the root has it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Import:
    """A module, by its dotted name, that is not the program's own and not Python's.

    Of `from a.b import c` the name is `a.b.c`: whether c is a module of a.b is not known here.
    """

    module: str
    place: Place
    need: Need = Need.REQUIRED

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.module.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: the imports, in order, and the files that were read."""

    imports: tuple[Import, ...]
    files: tuple[Path, ...]


@dataclass(slots=True)
class _Search:
    """A scan at work."""

    root: Path
    folders: tuple[Path, ...]  # what is on sys.path: the root and the entry point's folder
    waiting: list[Path]
    seen: set[Path] = field(default_factory=set[Path])
    imports: dict[tuple[str, Place], Import] = field(default_factory=dict[tuple[str, Place], Import])
    config_folders: list[Path] = field(default_factory=list[Path])


def scan_program(entry: Path, root: Path | None = None) -> Scan:
    """Find what the program imports; `root` is the folder that travels with it, the entry point's by default.

    NotFoundError if there is no such file, UsageError for one that is not Python.
    """
    entry = entry.resolve()
    root = (root or entry.parent).resolve()
    if not entry.is_file():
        raise NotFoundError(f"there is no program {entry}")
    search = _Search(root, tuple(dict.fromkeys((root, entry.parent))), [entry])
    _read_all(search)
    if any(found.top in CONFIG_READERS or ".cli" in found.module for found in search.imports.values()):
        for target, file, line in config_targets(root, search.config_folders):
            _note(search, target, Place(_shown(file, root), line), Need.REQUIRED)
        _read_all(search)
    found = sorted(search.imports.values(), key=lambda one: (one.place, one.module))
    return Scan(tuple(found), tuple(sorted(search.seen)))


def _read_all(search: _Search) -> None:
    while search.waiting:
        path = search.waiting.pop()
        if path not in search.seen:
            search.seen.add(path)
            _read(search, path)


def _read(search: _Search, path: Path) -> None:
    shown = _shown(path, search.root)
    try:
        tree = ast.parse(path.read_bytes(), filename=shown)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"{shown}:{line}: not Python: {getattr(error, 'msg', error)}") from None
    for name, line, need in _imports_of(tree, _package_of(search, path)):
        _note(search, name, Place(shown, line), need)
    search.config_folders += _config_folders(tree, path)


def _note(search: _Search, name: str, place: Place, need: Need) -> None:
    """Take up an import: a local module is read too, Python's own are left out."""
    local = _local_files(search, name)
    if local:
        if need is not Need.NEVER:
            search.waiting += local
        return
    top = name.partition(".")[0]
    if top and top not in sys.stdlib_module_names and top != "__main__":
        search.imports.setdefault((name, place), Import(name, place, need))


def _local_files(search: _Search, name: str) -> list[Path]:
    """Give the files of a local module: its packages' `__init__.py`, and itself; none if it is not local."""
    parts = name.split(".")
    for folder in search.folders:
        files: list[Path] = []
        at = folder
        for part in parts:
            if (module := at / f"{part}.py").is_file():
                files.append(module)
                break
            at = at / part
            if not at.is_dir():
                break
            if (init := at / "__init__.py").is_file():
                files.append(init)
        if files:
            return files
    return []


def _package_of(search: _Search, path: Path) -> list[str]:
    """Give the names of the packages that a file is in, for its relative imports."""
    for folder in search.folders:
        if path.is_relative_to(folder):
            return list(path.relative_to(folder).parts[:-1])
    return []


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


# ---- one file


def _imports_of(tree: ast.AST, package: list[str]) -> Iterator[tuple[str, int, Need]]:
    """Give names, lines and needs of all imports below a node."""
    waiting: list[tuple[ast.AST, Need]] = [(tree, Need.REQUIRED)]
    while waiting:
        node, need = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, need) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((name, node.lineno, need) for name in _from_names(node, package))
        elif isinstance(node, ast.Call) and (called := _imported_by_call(node)):
            yield called, node.lineno, need
        waiting += _children(node, need)


def _from_names(node: ast.ImportFrom, package: list[str]) -> Iterator[str]:
    base = node.module or ""
    if node.level:
        above = package[: len(package) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    for alias in node.names:
        name = base if alias.name == "*" else f"{base}.{alias.name}"
        yield name.strip(".")


def _imported_by_call(node: ast.Call) -> str | None:
    """Give the module that `import_module("name")` or `__import__("name")` imports."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in ("import_module", "__import__") or not node.args:
        return None
    first = node.args[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("."):
        return first.value
    return None


def _children(node: ast.AST, need: Need) -> list[tuple[ast.AST, Need]]:
    """Give what is below a node, with how much what it imports is needed."""
    if isinstance(node, ast.If):
        body, other = _needs_of(node.test)
        return [
            *((child, _less(need, body)) for child in node.body),
            *((child, _less(need, other)) for child in node.orelse),
            (node.test, need),
        ]
    optional: list[ast.AST] = []
    if isinstance(node, ast.Try) and any(_catches_imports(handler.type) for handler in node.handlers):
        optional = [*node.body, *node.handlers, *node.orelse]
    elif isinstance(node, ast.With) and any(_suppresses(item.context_expr) for item in node.items):
        optional = list(node.body)
    return [
        (child, _less(need, Need.OPTIONAL) if child in optional else need)
        for child in ast.iter_child_nodes(node)
    ]


def _less(one: Need, other: Need) -> Need:
    order = (Need.REQUIRED, Need.OPTIONAL, Need.NEVER)
    return order[max(order.index(one), order.index(other))]


def _needs_of(test: ast.expr) -> tuple[Need, Need]:
    """Say how much the branches of an `if` are needed."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        body, other = _needs_of(test.operand)
        return other, body
    if isinstance(test, ast.Constant):
        return (Need.REQUIRED, Need.NEVER) if test.value else (Need.NEVER, Need.REQUIRED)
    names = {_last_name(node) for node in ast.walk(test)}
    if _last_name(test) == "TYPE_CHECKING":
        return Need.NEVER, Need.REQUIRED
    if names & {"find_spec", "platform", "version_info"}:
        return Need.OPTIONAL, Need.OPTIONAL
    return Need.REQUIRED, Need.REQUIRED


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _catches_imports(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(
        _last_name(one) in {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
        for one in kinds
    )


def _suppresses(context: ast.expr) -> bool:
    return (
        isinstance(context, ast.Call)
        and _last_name(context.func) == "suppress"
        and any(_catches_imports(kind) for kind in context.args)
    )


def _config_folders(tree: ast.AST, path: Path) -> list[Path]:
    """Give the folders that `hydra.main(config_path="...")` and `initialize(...)` name."""
    folders: list[Path] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last_name(node.func) in {
            "main",
            "initialize",
            "initialize_config_dir",
        }:
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg in {"config_path", "config_dir"} and isinstance(value, ast.Constant):
                    folders.append(path.parent / str(value.value or "."))
    return [folder.resolve() for folder in folders if folder.is_dir()]
