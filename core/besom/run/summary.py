"""A run's summary as its program sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from besom.jsonable import is_list, is_mapping
from besom.summarize import Summarizer, lookup


class Summary(MutableMapping[str, Any]):
    """A dict of summary values with attributes for its items; nested ones are such dicts, written through."""

    __slots__ = ("_change", "_path", "_summarizer")

    _summarizer: Summarizer
    _change: Callable[[Mapping[str, Any]], None]
    _path: tuple[str, ...]

    def __init__(
        self, summarizer: Summarizer, change: Callable[[Mapping[str, Any]], None], path: tuple[str, ...] = ()
    ) -> None:
        object.__setattr__(self, "_summarizer", summarizer)
        object.__setattr__(self, "_change", change)
        object.__setattr__(self, "_path", path)

    def _node(self) -> Mapping[str, Any]:
        node: Any = self._summarizer.summary
        for key in self._path:
            node = node.get(key, {})
        return node if is_mapping(node) else {}

    def __getitem__(self, key: str) -> Any:
        node = self._node()
        value = node[key] if key in node else lookup(node, key.split("."))
        if value is None and key not in node:
            raise KeyError(key)
        if is_mapping(value):
            words = [key] if key in node else key.split(".")
            return Summary(self._summarizer, self._change, (*self._path, *words))
        return list(value) if is_list(value) else value

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        if key not in self._node():
            raise KeyError(key)
        self._change({"delete": [[*self._path, key]]})

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._node()))

    def __len__(self) -> int:
        return len(self._node())

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the summary has no item {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return repr(self.as_dict())

    def update(self, *args: Any, **items: Any) -> None:
        """Set several items as one entry; nested dicts merge."""
        values: dict[str, Any] = dict(*args, **items)
        for key in reversed(self._path):
            values = {key: values}
        self._change({"set": values})

    def as_dict(self) -> dict[str, Any]:
        """Give a copy made of plain dicts."""
        return {key: _copy(value) for key, value in self._node().items()}


def _copy(value: Any) -> Any:
    return {key: _copy(held) for key, held in value.items()} if is_mapping(value) else value
