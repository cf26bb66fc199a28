"""How an agent that found nothing to take learns when to ask again."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from besom.agent.patience import Pause
from besom.store.base import Store

log = logging.getLogger(__name__)

WAIT = 10.0  # seconds of one wait at the store
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between claims that find nothing
LONGEST = 30.0  # seconds without a claim, whatever the store says


@dataclass(frozen=True, slots=True)
class Heard:
    """The store says that there may be something to take; `word` is for its next `wait`."""

    word: str


class News:
    """Waits at the store, in a thread, for an agent whose latest claim found nothing.

    Claims that find nothing are some time apart even so, ever longer: many agents may be told of one run.
    """

    def __init__(self, store: Store, sweep_id: str, tell: Callable[[Heard], None]) -> None:
        self._store, self._sweep_id, self._tell = store, sweep_id, tell
        self._word = ""  # how things stood before the latest claim
        self._pause = Pause(FIRST_PAUSE, LONGEST_PAUSE)
        self._earliest = 0.0
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = self._closed = False

    def found(self) -> None:
        """Take note that there was something to take."""
        self._word = ""
        self._pause.reset()

    def missed(self) -> float:
        """Take note that there was nothing to take; gives when to ask again if nothing is told before."""
        now = time.monotonic()
        self._earliest = now + self._pause.next()
        if not self._word:  # what happens between now and the next claim must not be missed
            self._word = self._store.wait(self._sweep_id, "", seconds=0)
            return self._earliest
        if not self._waiting:
            self._waiting = True
            self._start()
            self._asked.put(self._word)
        return now + LONGEST

    def heard(self, heard: Heard) -> float:
        """Take note of it; gives when to ask again."""
        self._waiting, self._word = False, heard.word
        return self._earliest

    def close(self) -> None:
        """Wait no longer; the thread ends when the store's answer is there, and holds nothing up."""
        self._closed = True
        self._asked.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="besom-news", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        for seen in iter(self._asked.get, None):
            word = seen
            try:
                while word == seen and not self._closed:
                    word = self._store.wait(self._sweep_id, seen, seconds=WAIT)
            except Exception as error:  # noqa: BLE001 - the next claim meets the same trouble and deals with it
                log.debug("there is no news of sweep %s: %s", self._sweep_id, error)
                word = ""
            self._tell(Heard(word))
