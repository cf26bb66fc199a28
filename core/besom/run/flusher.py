"""Moves a run's journal to its store from a thread, keeps its lease, and knows what is wanted of the run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from besom.errors import BesomError, NotFoundError, StoreError
from besom.journal import Delivery, Replayed
from besom.records import CONTINUE, Directive, Lease

if TYPE_CHECKING:
    from besom.store.base import Store

logger = logging.getLogger(__name__)

SHORTEST_PAUSE = 0.25  # seconds between two deliveries: rows that come in batches cost a third less
LONGEST_PAUSE = 1.0
LONGEST_BACKOFF = 30.0
POLL = 2.0  # seconds between heartbeats of a program that asks should_stop


working = threading.Lock()
"""Held by a flusher that imports or is inside the store: a fork there would leave locks in the child."""


def _nothing() -> None:
    """Gather where nothing is kept."""


class Flusher:
    """The way of one attempt's journal into its store. The journal is the queue, so memory stays flat.

    The store is opened by the thread, so starting one costs the program nothing. When the store cannot be
    reached, the rows wait in the journal, and the thread tries again at growing intervals.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        lease: Lease,
        sweep_id: str | None,
        path: Path,
        *,
        lease_seconds: float,
        keep_store: bool = False,
    ) -> None:
        self.directive: Directive = CONTINUE
        self.polled = False  # the program asks should_stop, so the answer should be fresh
        self.gather: Callable[[], None] = _nothing
        """Brings to the journal what the program has kept from it so far; called by the thread."""
        self._open_store = open_store
        self._keep_store = keep_store  # it belongs to somebody else, who closes it
        self._lease = lease
        self._sweep_id = sweep_id
        self._path = path
        self._lease_seconds = lease_seconds
        self._store: Store | None = None
        self._delivery: Delivery | None = None
        self._heard = time.monotonic()  # when the store last prolonged the lease
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._troubled = False
        self._retry_at = 0.0  # where no thread tries again
        self._thread = threading.Thread(target=self._work, name="besom-flusher", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new in the journal."""
        if not self._wake.is_set():
            self._wake.set()

    def ask(self) -> None:
        """Deliver in the calling thread what there is, so that `directive` answers all that was logged.

        It may be asked of a flusher that was never started. Does nothing while the store is away.
        """
        away = self._troubled and (self._thread.is_alive() or time.monotonic() < self._retry_at)
        if away or self._closing.is_set() or self.directive.action == "lost":
            return
        try:
            with working:
                while (directive := self._connect()[1].deliver()) is not None:
                    self._heed(directive)
            self._troubled = False
        except NotFoundError as error:
            self._heed(Directive("lost", str(error)))
        except (BesomError, OSError) as error:
            self._complain(error)
            self._retry_at = time.monotonic() + LONGEST_BACKOFF

    @property
    def told(self) -> str:
        """The action that a program of this run was told, as far as the journal was read; "" for none."""
        return (self._delivery and self._delivery.account.stopping) or ""

    def settle(self, finish: dict[str, Any] | None, *, patience: float) -> Replayed | None:
        """Deliver the rest in the calling thread; with the body of a `finish` entry, end the run so.

        Gives what the journal tells once all of it is stored; None when the store could not be reached for
        `patience` seconds.
        """
        deadline = time.monotonic() + patience
        self._closing.set()
        self._wake.set()
        self._thread.join(patience)
        while not self._thread.is_alive():
            try:
                return self._settle(finish)
            except NotFoundError as error:  # noqa: PERF203 - a pass takes half a second
                logger.warning("run %s is gone: %s", self._lease.run_id, error)
                self._let_go()
                return None
            except (BesomError, OSError) as error:
                self._complain(error)
                if time.monotonic() > deadline:
                    break
                time.sleep(0.5)
        logger.error("run %s: not all of %s has reached the store", self._lease.run_id, self._path)
        return None

    def _settle(self, finish: dict[str, Any] | None) -> Replayed:
        store, delivery = self._connect()
        while (
            directive := delivery.deliver()
        ) is not None:  # also when lost: the store keeps what was logged
            self._heed(directive)
        account = delivery.account
        account.finish = account.finish or finish  # it is not in the journal when the disk was full
        told = account.replayed()
        if finish and told.finished is not None:
            store.finish(self._lease, told.finished)
        self._let_go()
        return told

    def _let_go(self) -> None:
        if self._delivery is not None:
            self._delivery.close()
        if self._store is not None and not self._keep_store:
            self._store.close()

    def _work(self) -> None:
        pause = 0.0
        while not self._closing.wait(pause):
            self._wake.wait(max(0.0, min(LONGEST_PAUSE, self._lease_seconds / 3) - pause))
            self._wake.clear()
            began = time.monotonic()
            try:
                self._deliver()
                pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, 4 * (time.monotonic() - began)))
                self._troubled = False
            except NotFoundError as error:
                self._heed(Directive("lost", str(error)))
            except (BesomError, OSError) as error:
                self._complain(error)
                pause = min(LONGEST_BACKOFF, max(LONGEST_PAUSE, 2 * pause))
            if self.directive.action == "lost":
                return

    def _deliver(self) -> None:
        self.gather()
        while not self._closing.is_set():
            with working:
                directive = self._connect()[1].deliver()
            if directive is None:
                break
            self._heed(directive)
            if directive.action == "lost":
                return
        due = min(POLL, self._lease_seconds / 3) if self.polled else self._lease_seconds / 3
        if time.monotonic() - self._heard >= due:
            with working:
                answers = self._connect()[0].heartbeat([self._lease], lease_seconds=self._lease_seconds)
            self._heed(answers[self._lease])

    def _connect(self) -> tuple[Store, Delivery]:
        if self._store is None:
            try:
                self._store = self._open_store()
            except NotFoundError as error:
                raise StoreError(str(error)) from error  # of a kind of store, not of this run
        if self._delivery is None:
            from besom.scheduler import Reporter

            sweep = self._store.get_sweep(self._sweep_id) if self._sweep_id else None
            reporter = Reporter(self._store, self._lease, sweep, lease_seconds=self._lease_seconds)
            self._delivery = Delivery(self._store, reporter, self._path)
        return self._store, self._delivery

    def _heed(self, directive: Directive) -> None:
        self._heard = time.monotonic()
        if directive.action != "continue" or self.directive.action == "continue":
            self.directive = directive

    def _complain(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            logger.warning(
                "run %s: the store does not answer (%s); what is logged waits in %s",
                self._lease.run_id,
                error,
                self._path,
            )
