"""A sweep in its store: where that is, and which of its sweeps is meant."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from besom.errors import UsageError
from besom.folders import default_store
from besom.records import Sweep
from besom_sagemaker.settings import is_networked

if TYPE_CHECKING:
    from besom.store.base import Store
    from besom.sweepfile import SweepConfig


@contextmanager
def opened(given: str | None, *, region: str | None) -> Generator[Store]:
    """Give the store at an address or at a reference to one; that of this machine by default."""
    from besom.store import open_store

    store = open_store(_address(given, region))
    try:
        yield store
    finally:
        store.close()


def _address(given: str | None, region: str | None) -> str:
    from besom_sagemaker.references import resolve

    if not is_networked(given or ""):
        return given or default_store()
    address = resolve({"BESOM_STORE": str(given)}, region=region)["BESOM_STORE"]
    if not is_networked(address):
        raise UsageError(
            f"store={given!r} leads to an SQLite file, which no job can reach; leave store out and the"
            " sweep stays in a file on this machine, or refer to a store that is on the network"
        )
    return address


def find_sweep(store: Store, config: SweepConfig) -> Sweep | None:
    """Give the newest sweep that was made of this very file, or of a mapping with the same content."""
    folder = str(Path(config.source).absolute().parent) if Path(config.source).is_file() else None
    for sweep in store.list_sweeps():
        if sweep.folder != folder:
            continue
        same_raw = {**sweep.config, "seed": None} == {**config.raw, "seed": None}
        if (sweep.text == config.text) if config.text else same_raw:
            return sweep
    return None
