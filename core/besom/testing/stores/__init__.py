"""The contract of `besom.store.base.Store`, as a suite that every backend runs whole.

    class TestMyStore(StoreContract):
        def open(self, folder, time):
            return MyStore(folder / "store", clock=...)  # reads `time.wall()` and `time.lease()`

A backend adds tests of its own; it never leaves one out.
"""

from __future__ import annotations

from besom.testing.stores.batches import BatchContract
from besom.testing.stores.ground import Ground, Time
from besom.testing.stores.proposals import ProposalContract
from besom.testing.stores.queue import QueueContract
from besom.testing.stores.reading import ReadingContract
from besom.testing.stores.runs import RunContract
from besom.testing.stores.solo import SoloContract
from besom.testing.stores.sweeps import SweepContract
from besom.testing.stores.waiting import WaitContract

__all__ = ["Ground", "StoreContract", "Time"]


class StoreContract(
    SweepContract,
    QueueContract,
    BatchContract,
    WaitContract,
    ProposalContract,
    RunContract,
    SoloContract,
    ReadingContract,
):
    """Every promise of the protocol; subclass it and provide `open`."""
