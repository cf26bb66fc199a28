"""A run's journal: the record on disk that makes `run.log` safe, and its way into a store.

One file per attempt, one JSON object per line, each appended by one `write` on an `O_APPEND` descriptor. So a
line that `append` returned from survives the death of its process, several processes may write the same
journal, and a line without an end is what a killed process or a full disk left: readers pass over it. An
entry's `seq` is the byte offset behind it, which makes it unique and growing without any process counting,
and is where reading goes on.

Kinds of entries: `start` (a process joined), `history`, `summary`, `define`, `config`, `preempting`,
`stopping` (the program was told to end), `error` (why it fails, if it does), `finish`, and `delivered`
(everything before is in the store; holds all that a replay would find out).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from besom.errors import StoreFullError
from besom.jsonable import json_writer, jsonable
from besom.records import Directive, HistoryRow, Lease, Metric, Outcome, RunState
from besom.summarize import Summarizer

BATCH_BYTES = 256 * 1024
"""How much of a journal is held in memory at once."""

_encode = json_writer()
_decode = json.JSONDecoder().raw_decode


class Journal:
    """The writing end of one attempt's journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._fd).st_size
        self._torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"

    def append(self, kind: str, time: float, body: Mapping[str, Any]) -> Any:
        """Append an entry; gives its body as it is stored. StoreFullError when the disk is full."""
        body, line = _line(kind, time, body)
        self._write(line)
        return body

    def append_all(self, kind: str, entries: Iterable[tuple[float, Mapping[str, Any]]]) -> list[Any]:
        """Append entries of one kind, each a time and a body, by one write; gives the bodies as stored.

        StoreFullError when the disk is full; then some of them may be there.
        """
        bodies: list[Any] = []
        lines: list[bytes] = []
        for time, body in entries:
            stored, line = _line(kind, time, body)
            bodies.append(stored)
            lines.append(line)
        self._write(b"".join(lines))
        return bodies

    def _write(self, lines: bytes) -> None:
        if self._torn:
            lines = b"\n" + lines
        try:
            written = os.write(self._fd, lines)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            written = 0
        self._torn = 0 < written < len(lines) or (self._torn and not written)
        if written < len(lines):
            raise StoreFullError(
                f"the disk is full: {self.path} cannot take more; what was logged so far is safe. "
                "Free some space, then resume or retry the run"
            )

    def lock(self) -> bool:
        """Try to become the process that delivers this journal; it is given up by `close` or death."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a filesystem without locks: deliver, at worst twice, which the store puts up with
        return True

    def reopen(self) -> None:
        """Give up what is shared with the parent process; called in the child after a fork."""
        os.close(self._fd)
        self._open()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _line(kind: str, time: float, body: Mapping[str, Any]) -> tuple[Any, bytes]:
    """Give an entry's body as it is stored, and its line."""
    try:
        text = _encode(body)
    except (TypeError, ValueError, RecursionError):
        body = jsonable(body)
        text = _encode(body)
    return body, f'{{"kind":"{kind}","time":{time:.3f},"body":{text}}}\n'.encode("ascii")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a journal; `body` depends on its kind."""

    seq: int
    kind: str
    time: float
    body: Any


def read_entries(file: BinaryIO, limit: int | None = None) -> Iterator[Entry]:
    """Give the whole entries from the file's position on, and leave the position behind the last one read.

    Stops after `limit` bytes, at the next end of a line, and before a last line without an end. Passes over
    lines that are no entry.
    """
    position = start = file.tell()
    while limit is None or position - start < limit:
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(position)
            return
        position += len(line)
        try:
            text = line.decode("ascii")
            found, end = _decode(text)
            entry = Entry(position, found["kind"], found["time"], found["body"])
        except (ValueError, KeyError, TypeError):
            continue
        if end == len(text) - 1:
            yield entry


class Account:
    """What the entries of a journal add up to."""

    def __init__(self) -> None:
        self.summarizer = Summarizer()
        self.metric: Metric | None = None
        self.config: dict[str, Any] | None = None
        self.preempting = False
        self.stopping: Literal["stop", "kill"] | None = None
        self.finish: dict[str, Any] | None = None
        self.error: str | None = None
        self.step: int | None = None

    def add(self, entry: Entry) -> None:
        """Take one more entry into account."""
        body = entry.body
        if entry.kind == "history":
            self.step = body["step"]
            self.summarizer.log(body["data"])
        elif entry.kind == "summary":
            self.summarizer.change(body)
        elif entry.kind == "define":
            self.summarizer.define(**body)
        elif entry.kind == "config":
            self.config = body
        elif entry.kind == "preempting":
            self.preempting = True
        elif entry.kind == "stopping":
            self.stopping = body["action"]
        elif entry.kind == "finish":
            self.finish = self.finish or body  # the first ending counts
        elif entry.kind == "error":
            self.error = body["error"] and (self.error or body["error"])  # so does the first error
        elif entry.kind == "start":
            self._start(body)

    def _start(self, body: Mapping[str, Any]) -> None:
        self.metric = Metric(**body["metric"]) if body.get("metric") else None
        self.summarizer.metric = self.metric
        if body.get("summary") is not None and not self.summarizer.summary:
            self.summarizer.summary = dict(body["summary"])
            self.summarizer.counts = dict(body.get("counts") or {})
        if self.step is None:
            self.step = body.get("step")

    @property
    def value(self) -> float | None:
        """The sweep's metric, None unless finite."""
        return self.summarizer.value()

    def replayed(self) -> Replayed:
        """Give what a replay tells."""
        summary, value = dict(self.summarizer.summary), self.value
        counts = dict(self.summarizer.counts)
        return Replayed(
            self._outcome(summary, value),
            self.preempting,
            summary,
            value,
            self.config,
            self.step,
            counts,
            self.stopping,
            self.error,
        )

    def _outcome(self, summary: Mapping[str, Any], value: float | None) -> Outcome | None:
        if self.finish is None:
            return None
        state, error = RunState(self.finish["state"]), self.finish["error"]
        if state is RunState.FAILED:
            error = self.error or error
        return Outcome(state, self.finish["exit_code"], error, summary, value)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a journal tells about its attempt."""

    finished: Outcome | None  # None: the program did not call finish
    preempting: bool  # the program called mark_preempting
    summary: Mapping[str, Any]
    value: float | None
    config: Mapping[str, Any] | None  # None: the program never called init
    step: int | None  # the last one logged
    counts: Mapping[str, int] = field(default_factory=dict[str, int])  # of the values in each mean
    stopping: Literal["stop", "kill"] | None = None  # the program was told to end, so ending is no failure
    error: str | None = None  # why the program failed, if it did, as one of its processes noted

    def as_entry(self) -> dict[str, Any]:
        """Give the body of a `delivered` entry."""
        return asdict(self)

    @classmethod
    def from_entry(cls, body: Mapping[str, Any]) -> Replayed:
        """Read the body of a `delivered` entry."""
        finished: Mapping[str, Any] | None = body["finished"]
        outcome = replace(Outcome(**finished), state=RunState(finished["state"])) if finished else None
        return replace(cls(**body), finished=outcome)


class Reports(Protocol):
    """Takes reports for one attempt, as a scheduler's Reporter does."""

    @property
    def lease(self) -> Lease:
        """The attempt reported for."""
        ...

    def report(
        self,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
    ) -> Directive:
        """Hand rows on; what is wanted of the run comes back."""
        ...


class Deliverable(Protocol):
    """What a delivery needs of a store."""

    def report(
        self,
        lease: Lease,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
        lease_seconds: float,
    ) -> Directive:
        """Store rows for a lease."""
        ...

    def set_run_config(self, lease: Lease, config: Mapping[str, Any]) -> None:
        """Replace a run's config."""
        ...

    def last_row(self, lease: Lease) -> HistoryRow | None:
        """Give the newest row stored for an attempt."""
        ...


@dataclass(frozen=True, slots=True)
class _Direct:
    store: Deliverable
    lease: Lease

    def report(
        self,
        rows: Sequence[HistoryRow],
        *,
        summary: Mapping[str, Any] | None = None,
        value: float | None = None,
    ) -> Directive:
        return self.store.report(self.lease, rows, summary=summary, value=value, lease_seconds=60.0)


class Delivery:
    """Moves a journal into a store in batches, from where the last delivery of this attempt stopped."""

    def __init__(self, store: Deliverable, reports: Reports, path: Path) -> None:
        self.account = Account()
        self._store = store
        self._reports = reports
        last = store.last_row(reports.lease)
        self._stored = last.seq if last else 0
        self._file = path.open("rb")
        self._config_stored: dict[str, Any] | None = None
        self._pending: list[HistoryRow] = []
        self._changed = False

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def deliver(self) -> Directive | None:
        """Read the next batch that holds any news and hand it on; None when there is none.

        After an error nothing is lost and a later call tries the same again.
        """
        if not self._changed:
            self._read()
        if not self._changed:
            return None
        if self.account.config is not None and self.account.config is not self._config_stored:
            self._store.set_run_config(self._reports.lease, self.account.config)
            self._config_stored = self.account.config
        summarizer = self.account.summarizer
        directive = self._reports.report(
            self._pending, summary=dict(summarizer.summary), value=self.account.value
        )
        self._changed = False
        return directive

    def _read(self) -> None:
        self._pending = []
        before = -1
        while not self._changed and self._file.tell() != before:
            before = self._file.tell()
            for entry in read_entries(self._file, BATCH_BYTES):
                self._changed = self._changed or entry.kind != "delivered"
                self.account.add(entry)
                if entry.kind == "history" and entry.seq > self._stored:
                    body = entry.body
                    self._pending.append(HistoryRow(entry.seq, body["step"], entry.time, body["data"]))


def replay(store: Deliverable, to: Reports | Lease, path: Path) -> Replayed:
    """Move what is left of an attempt's journal into the store, and tell what it says; safe to repeat.

    A missing journal says nothing: the program never called `init`.
    """
    if not path.exists():
        return Account().replayed()
    if (told := read_delivered(path)) is not None:
        return told
    delivery = Delivery(store, _Direct(store, to) if isinstance(to, Lease) else to, path)
    try:
        while delivery.deliver() is not None:
            pass
        return delivery.account.replayed()
    finally:
        delivery.close()


def read_account(path: Path) -> Account:
    """Add up a journal without delivering it; an empty account if there is none."""
    account = Account()
    if path.exists():
        with path.open("rb") as file:
            for entry in read_entries(file):
                account.add(entry)
    return account


def read_delivered(path: Path) -> Replayed | None:
    """Give what the journal's last line tells if it says that everything before is in the store."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - BATCH_BYTES))
        lines = file.read().splitlines(keepends=True)
    if not lines or not lines[-1].startswith(b'{"kind":"delivered"') or not lines[-1].endswith(b"\n"):
        return None
    return Replayed.from_entry(json.loads(lines[-1])["body"])
