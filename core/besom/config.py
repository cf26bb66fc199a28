"""A run's config: defaults, what the program sets, and the parameters of its sweep, which nothing overwrites.

Three layers, each winning over the one before: `config-defaults.yaml` in the working directory,
`init(config=...)`, the sweep. Dicts merge deeply. Exactly the leaves that the sweep chose are locked, so a
swept `model.depth` leaves the rest of `model` free.

A dotted name and a nested one are the same place: `config["model.lr"]`, `config["model"]["lr"]` and
`config.model.lr`. It is kept nested where the program has a mapping `model`, and as the flat key `model.lr`
where it has none.
"""

# ruff: noqa: SLF001 - a Config and its Sections are one thing

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from besom.errors import ConfigError, Problem, SweepFileError, UsageError
from besom.jsonable import is_dict, is_list, is_mapping, jsonable

logger = logging.getLogger(__name__)

DEFAULTS_FILE = "config-defaults.yaml"


class Section(dict[str, Any]):
    """A mapping inside a config: a dict with attributes for its items, changed only by the rules."""

    __slots__ = ("_locked", "_path", "_root")

    _root: Config
    _path: str
    _locked: set[str]

    def __init__(self, root: Config, path: str) -> None:
        super().__init__()
        object.__setattr__(self, "_root", root)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_locked", set())

    # ---- reading

    def __missing__(self, key: str) -> Any:
        found, value = self._resolve(_name(key))
        if not found:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._resolve(_name(key))[0]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(sorted(self)) or "nothing"
            raise AttributeError(f"the config has no item {self._path + name!r}; it has {known}") from None

    def get(self, key: str, default: Any = None) -> Any:
        """Give an item by its plain or dotted name, or `default`."""
        try:
            return self[key]
        except KeyError:
            return default

    def as_dict(self) -> dict[str, Any]:
        """Give a copy made of plain dicts and lists."""
        return {
            key: value.as_dict() if isinstance(value, Section) else jsonable(value)
            for key, value in self.items()
        }

    def copy(self) -> dict[str, Any]:
        """Give `as_dict()`."""
        return self.as_dict()

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels to another process is a copy with no run behind it.
        return (Config, (self.as_dict(),))

    def _resolve(self, name: str) -> tuple[bool, Any]:
        """Look a dotted name up in mappings, and a mapping up among flat dotted keys."""
        if self._has(name):
            return True, self._raw(name)
        for head, rest in _splits(name):
            below = self._raw(head)
            if isinstance(below, Section):
                found, value = below._resolve(rest)
                if found:
                    return True, value
        return self._gather(name)

    def _gather(self, name: str) -> tuple[bool, Any]:
        start = f"{name}."
        flat = {key.removeprefix(start): value for key, value in self.items() if key.startswith(start)}
        if not flat:
            return False, None
        gathered = Section(self._root, self._path + start)
        for key, value in flat.items():
            gathered._set(key, value)
        return True, gathered

    def _has(self, key: str) -> bool:
        return super().__contains__(key)

    def _raw(self, key: str) -> Any:
        return super().get(key)

    def _set(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)

    def _take(self, key: str) -> Any:
        return super().pop(key)

    # ---- changing

    def __setitem__(self, key: str, value: Any) -> None:
        self._root._change({self._path + _name(key): value}, allow=None)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *args: Any, allow_val_change: bool | None = None, **items: Any) -> None:
        """Merge items in; ConfigError if one would change a value, unless `allow_val_change`.

        What the sweep has set stays as it is: another value for it is ignored with one warning.
        """
        values = {_name(key): value for given in (*args, items) for key, value in mapping_of(given).items()}
        self._root._change({self._path + key: value for key, value in values.items()}, allow=allow_val_change)

    def __ior__(self, other: Any) -> Section:  # type: ignore[override,misc]
        self.update(other)
        return self

    def setdefaults(self, values: Any) -> None:
        """Set the items that are absent, at any depth, and leave the others alone."""
        given = {self._path + _name(key): value for key, value in mapping_of(values).items()}
        self._root._change(given, only_absent=True)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set one item if it is absent; gives the item."""
        self.setdefaults({key: default})
        return self[key]

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise ConfigError("an item of a run's config cannot be removed: it is part of the run's record")

    __delitem__ = _refuse
    __delattr__ = _refuse
    pop = _refuse
    popitem = _refuse
    clear = _refuse


class Config(Section):
    """The config of a run. `on_change` is called with all of it, as plain dicts, after each change."""

    __slots__ = ("_allow", "_on_change", "_warned")

    _allow: bool
    _on_change: Callable[[dict[str, Any]], None]
    _warned: set[str]

    def __init__(
        self,
        values: Any = None,
        *,
        swept: Mapping[str, Any] | None = None,
        allow_val_change: bool = False,
        on_change: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        super().__init__(self, "")
        object.__setattr__(self, "_allow", allow_val_change)
        object.__setattr__(self, "_on_change", on_change)
        object.__setattr__(self, "_warned", set())
        self._merge(mapping_of(values), allow=True, quiet=True)
        for name, value in _leaves(swept or {}):
            self._impose(name, value)

    def absorb(self, values: Any) -> None:
        """Merge in what `init(config=...)` gives: above what is there, below the sweep, silently."""
        if self._merge(mapping_of(values), allow=True, quiet=True):
            self._on_change(self.as_dict())

    def _change(
        self, values: Mapping[str, Any], *, allow: bool | None = None, only_absent: bool = False
    ) -> None:
        allowed = self._allow if allow is None else allow
        if self._merge(values, allow=allowed, only_absent=only_absent):
            self._on_change(self.as_dict())

    def _merge(
        self,
        values: Mapping[str, Any],
        *,
        allow: bool = False,
        quiet: bool = False,
        only_absent: bool = False,
    ) -> bool:
        """Put values in, all or none; says whether anything changed."""
        writes: list[tuple[str, Any]] = []
        for name, value in values.items():
            self._plan(_name(name), value, writes, allow=allow, quiet=quiet, only_absent=only_absent)
        for name, value in writes:
            self._put(name, value)
        return bool(writes)

    def _plan(
        self,
        name: str,
        value: Any,
        writes: list[tuple[str, Any]],
        *,
        allow: bool,
        quiet: bool,
        only_absent: bool,
    ) -> None:
        """Add to `writes` what giving `value` to `name` comes to under the rules."""
        found, current = self._resolve(name)
        if is_mapping(value) and (not found or isinstance(current, Section)):
            node, last = self._slot(name)
            if not isinstance(node._raw(last), Section):
                writes.append((name, {}))
            for key, below in value.items():
                inner = f"{name}.{_name(key)}"
                self._plan(inner, below, writes, allow=allow, quiet=quiet, only_absent=only_absent)
        elif not found:
            writes.append((name, jsonable(value)))
        elif not only_absent and not self._keeps(name, current, jsonable(value), quiet=quiet):
            if not allow:
                raise ConfigError(
                    f"config item {name!r} is {current!r} and would become {jsonable(value)!r}; "
                    "pass allow_val_change=True to update() if that is meant"
                )
            writes.append((name, jsonable(value)))

    def _keeps(self, name: str, current: Any, value: Any, *, quiet: bool) -> bool:
        """Say whether an item stays as it is, because the value is equal or the sweep has set it."""
        if _same(current, value):
            return True
        node, key = self._slot(name)
        if key not in node._locked and not (isinstance(current, Section) and _locks_inside(current)):
            return False
        if not quiet and name not in self._warned:
            self._warned.add(name)
            logger.warning("config item %r is set by the sweep (ignored update)", name)
        return True

    def _slot(self, name: str) -> tuple[Section, str]:
        """Give where a dotted name is kept, or would be."""
        node: Section = self
        while True:
            if node._has(name):
                return node, name
            deeper = ((node._raw(head), rest) for head, rest in _splits(name))
            below = next(((held, rest) for held, rest in deeper if isinstance(held, Section)), None)
            if below is None:
                return node, name
            node, name = below

    def _put(self, name: str, value: Any) -> None:
        """Write a value; a mapping becomes a section and takes in the flat dotted keys that belong to it."""
        node, key = self._slot(name)
        if not is_mapping(value):
            node._set(key, value)
            return
        if isinstance(node._raw(key), Section):
            return
        section = Section(self, f"{name}.")
        start = f"{key}."
        for flat in [held for held in node if held.startswith(start)]:
            inner = flat.removeprefix(start)
            section._set(inner, node._take(flat))
            if flat in node._locked:
                node._locked.remove(flat)
                section._locked.add(inner)
        node._set(key, section)
        for inner, held in value.items():
            self._put(f"{name}.{inner}", held)

    def _impose(self, names: tuple[str, ...], value: Any) -> None:
        """Set one leaf to the sweep's value and lock it."""
        for depth in range(1, len(names)):
            self._put(".".join(names[:depth]), {})
        self._put(".".join(names), jsonable(value))
        node, key = self._slot(".".join(names))
        node._locked.add(key)


def mapping_of(values: Any) -> Mapping[str, Any]:
    """Give the items of a mapping, an `argparse.Namespace`, a dataclass or pairs; None has none."""
    if values is None:
        return {}
    if is_mapping(values):
        return values
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
    if is_list(values):
        return dict(values)
    given: object = values
    if hasattr(given, "__dict__") and not isinstance(given, type):
        return dict(vars(given))
    raise UsageError(f"a config is a dict, an argparse.Namespace or a dataclass, not {type(values).__name__}")


def read_defaults(path: str | os.PathLike[str] = DEFAULTS_FILE) -> dict[str, Any]:
    """Read a file of defaults, `name: {value: ..., desc: ...}` or `name: value`; {} if there is no file.

    A file that is no such mapping is a SweepFileError that names the place.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return {}
    from besom.sweepfile.tree import Problems
    from besom.sweepfile.yaml12 import read_text, read_tree

    problems = Problems(str(path))
    items: Any = read_tree(read_text(data, problems), problems).plain()
    if problems.found:
        raise SweepFileError(problems.found)
    if items is None:
        return {}
    if not is_dict(items):
        raise SweepFileError([Problem("expected a mapping of config items to their values", str(path))])
    return {
        name: item["value"] if is_dict(item) and "value" in item else item
        for name, item in items.items()
        if name not in ("wandb_version", "_wandb")
    }


def _name(key: Any) -> str:
    return str(key).strip("-")


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Give every way to split a dotted name in two, shortest head first."""
    at = name.find(".")
    while at >= 0:
        yield name[:at], name[at + 1 :]
        at = name.find(".", at + 1)


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if is_mapping(value) and value:
            yield from _leaves(value, (*above, _name(key)))
        else:
            yield (*above, _name(key)), value


def _locks_inside(section: Section) -> bool:
    below = (held for held in section.values() if isinstance(held, Section))
    return bool(section._locked) or any(map(_locks_inside, below))


def _same(a: Any, b: Any) -> bool:
    """Say whether two values are equal but for the noise of a number that was printed and read back."""
    if isinstance(a, float) or isinstance(b, float):
        both = isinstance(a, (int, float)) and isinstance(b, (int, float))
        return both and (a == b or math.isclose(a, b, rel_tol=1e-9))
    return bool(a == b)
