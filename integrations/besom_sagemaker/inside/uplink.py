"""The way of a run's journal and status out of the job, and of stop requests into it.

A thread does it, so that a slow S3 never holds up signals or programs. The newest numbers are printed too, at
most once a second: where S3 cannot be reached, the job's log has at least those.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from besom.folders import RunFolder
from besom.records import Outcome
from besom_sagemaker.job import STATUS, STOP, RunSpec, RunStatus, StopRequest, read_status, read_stop
from besom_sagemaker.redact import Redactor
from besom_sagemaker.s3 import S3
from besom_sagemaker.transport import JournalSender, LogSender, fetch_journal, metrics_of

log = logging.getLogger(__name__)

POLL = 0.3  # seconds between two looks for a stop request
SHORTEST = 1.0  # seconds between two parts of a journal; they become rarer as a run goes on
LONGEST = 10.0
PRINTED = "printed.log"
"""The file in a run's folder with what its program printed, without the secrets."""

PATIENCE = 60.0  # seconds that the end of a run waits for S3


def s3_errors() -> tuple[type[Exception], ...]:
    """Give what S3 calls may raise."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError, Boto3Error, OSError)


def restore(s3: S3, spec: RunSpec, folder: RunFolder, checkpoints: Path) -> RunStatus | None:
    """Fetch what this run has left in S3 so far; gives the last status of this attempt, if it had begun."""
    for earlier in spec.earlier:
        fetch_journal(s3, earlier.prefix, folder.journal(earlier.attempt))
    text = s3.get(spec.prefix + STATUS)
    before = read_status(text) if text else None
    if before is not None:
        fetch_journal(s3, spec.prefix, folder.journal(spec.attempt))
    if spec.checkpoints and not any(checkpoints.iterdir()):
        s3.fetch_all(spec.checkpoints, checkpoints)
    return before


class Uplink:
    """Carries one run; `on_stop` is called, in a thread, when a stop request comes.

    With `sends=False`, on all instances of a job but the first, it only looks for stop requests.
    """

    def __init__(
        self,
        s3: S3,
        spec: RunSpec,
        folder: RunFolder,
        redactor: Redactor,
        *,
        status: RunStatus,
        on_stop: Callable[[StopRequest], None],
        sends: bool = True,
    ) -> None:
        self._s3 = s3
        self._spec = spec
        self._folder = folder
        self._redactor = redactor
        self._on_stop = on_stop
        self._sends = sends
        self._status = status
        self._told: RunStatus | None = None  # the status that is in S3
        self._stop: StopRequest | None = None
        self._sender = JournalSender(
            s3,
            spec.prefix,
            folder.journal(spec.attempt),
            redactor,
            sent=status.journal_bytes,
            seen=self._show,
        )
        self._log = LogSender(s3, spec.prefix, folder.path / PRINTED, sent=status.log_bytes)
        self._began = self._sent_at = time.monotonic()
        self._closing = threading.Event()
        self._troubled = False
        self._errors = s3_errors()
        self._thread = threading.Thread(target=self._work, name="besom-uplink", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, outcome: Outcome) -> bool:
        """Bring home the rest and how the run ended; False if S3 could not be reached for a minute."""
        self._closing.set()
        self._thread.join(PATIENCE)
        if not self._sends:
            return True
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                while self._sender.send() or self._log.send():
                    pass
                self._tell("ended", outcome)
            except self._errors as error:  # noqa: PERF203 - a pass takes a second
                self._complain(error)
                if time.monotonic() > deadline:
                    return False
                time.sleep(1.0)
            else:
                return True

    def look(self) -> StopRequest | None:
        """Look for a stop request now."""
        if self._stop is None:
            try:
                text = self._s3.get(self._spec.prefix + STOP)
            except self._errors as error:
                self._complain(error)
                return None
            if text is not None:
                self._stop = read_stop(text)
                self._status = dataclasses.replace(self._status, stop=self._stop.action)
        return self._stop

    def _work(self) -> None:
        self._once()
        while not self._closing.wait(POLL):
            self._once()

    def _once(self) -> None:
        if self._stop is None and (found := self.look()) is not None:
            self._on_stop(found)
        now = time.monotonic()
        pause = min(LONGEST, max(SHORTEST, (now - self._began) / 100))
        if not self._sends or (self._told is not None and now - self._sent_at < pause):
            return
        try:
            while (self._sender.send() or self._log.send()) and not self._closing.is_set():
                pass
            self._tell("running")
            self._sent_at = now
            self._troubled = False
        except self._errors as error:
            self._complain(error)

    def _tell(self, state: Literal["running", "ended"], outcome: Outcome | None = None) -> None:
        status = dataclasses.replace(
            self._status,
            state=state,
            journal_bytes=self._sender.sent,
            log_bytes=self._log.sent,
            checkpoint=self._checkpoint(),
            outcome=outcome,
        )
        if self._told is None or status != dataclasses.replace(self._told, time=status.time):
            status = dataclasses.replace(status, time=time.time())
            self._s3.put(self._spec.prefix + STATUS, status.to_json().encode())
            self._told = status

    def _checkpoint(self) -> str | None:
        try:
            return (self._folder.path / "checkpoint").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _show(self, part: bytes) -> None:
        """Print the newest numbers, where SageMaker's metric definitions find them."""
        if (found := metrics_of(part)) is not None:
            step, numbers = found
            words = " ".join(f"{'_'.join(name.split())}={value!r};" for name, value in numbers.items())
            sys.stdout.write(f"besom: run={self._spec.run_id} step={step}; {words}\n")
            sys.stdout.flush()

    def _complain(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("run %s: S3 does not take its reports: %s", self._spec.run_id, error)
