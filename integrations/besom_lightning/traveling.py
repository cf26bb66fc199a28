"""How a callback or a logger comes to the processes that a Trainer spawns, and finds its run there."""

from __future__ import annotations

from typing import Any, ClassVar

from besom_lightning.joining import handed_on
from besom_lightning.roots import rebuilt


class Traveler:
    """An object that is pickled without what belongs to its process, and with the way to its run."""

    _LOCAL: ClassVar[frozenset[str]]  # the attributes that stay behind
    _handed: dict[str, str]

    def _clear(self) -> None:
        """Set every attribute to what it is in a process that has done nothing yet."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in self._LOCAL}
        return {**kept, "_handed": handed_on()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._clear()
        self.__dict__.update(state)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__module__ == "besom_lightning":  # made there by name, of the roots that are loaded
            return rebuilt, (type(self).__name__,), self.__getstate__()
        return super().__reduce_ex__(protocol)
