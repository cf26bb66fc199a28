"""A run's journal and log, brought from S3 into its run folder here; the journal into the store, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from besom.folders import RunFolder
from besom.journal import Delivery
from besom.records import Directive, Run, RunState, Sweep
from besom.scheduler import Reporter
from besom.store.base import Store
from besom_sagemaker.cloud import Cloud
from besom_sagemaker.job import STATUS, STOP, RunSpec, RunStatus, StopRequest, read_status

_PARTS = "journal/"
_PART_END = ".jsonl"
_LOG_PARTS = "console/"
_LOG_END = ".txt"


@dataclass(slots=True)
class Mirror:
    """One run of a job, as far as it has come home.

    `fetch` talks to S3 alone and may be called by any thread, one at a time; `deliver` talks to the store.
    """

    run: Run
    spec: RunSpec
    folder: RunFolder
    status: RunStatus | None = None
    asked: StopRequest | None = None  # what stop.json says
    asked_at: float = 0.0
    settled: bool = False  # its end is in the store, or the run is lost to us
    unstorable: bool = False  # nothing more that it reports can be stored
    log_begin: int = 0  # where in output.log this attempt begins
    _have: int = -1  # bytes of the journal on disk; -1: not looked yet
    _log_have: int = -1  # the same for what it printed
    _etag: str = ""
    _delivery: Delivery | None = field(default=None, repr=False)

    @property
    def begun(self) -> bool:
        """Say whether the job has come to this run."""
        return self.status is not None

    @property
    def came_home(self) -> bool:
        """Say whether anything of its journal has ever come."""
        path = self.folder.journal(self.run.attempt)
        return path.exists() and path.stat().st_size > 0

    @property
    def complete(self) -> bool:
        """Say whether it has ended and all that it logged is here.

        One that was interrupted has not: the job may be started again, and the run goes on in it.
        """
        status = self.status
        return (
            status is not None
            and status.outcome is not None
            and status.outcome.state is not RunState.PREEMPTED
            and self._have >= status.journal_bytes
            and self._log_have >= status.log_bytes
        )

    def fetch(self, cloud: Cloud) -> None:
        """Bring what is new: parts of the journal, the status, and parts of what it printed."""
        path = self.folder.journal(self.run.attempt)
        if self._have < 0:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            path.touch()
            on_disk, first, after = path.stat().st_size, True, _PARTS
        else:
            # Behind the last part that is here; `~` sorts after the "." of its ending.
            on_disk, first = self._have, False
            after = f"{_PARTS}{max(0, self._have - 1):020d}~" if self._have else _PARTS
        have, etag = 0 if first else self._have, self._etag
        for found in cloud.find(self.spec.prefix, after=after):
            if found.key.startswith(_PARTS) and found.key.endswith(_PART_END):
                begins = int(found.key[len(_PARTS) : -len(_PART_END)])
                if begins != have:
                    continue  # it is here already
                if not first or begins + found.size > on_disk:
                    _append(cloud, self.spec.prefix + found.key, path, have)
                have = begins + found.size
            elif found.key == STATUS:
                etag = found.etag
        self._have = have
        if etag != self._etag:
            self._read_status(cloud)
            self._etag = etag
        if self.status is not None and self._log_have < self.status.log_bytes:
            self._fetch_log(cloud, self.status.log_bytes)

    def _fetch_log(self, cloud: Cloud, end: int) -> None:
        """Add to output.log the parts that lie below `end`."""
        path = self.folder.output
        path.touch()
        have, on_disk = max(0, self._log_have), path.stat().st_size - self.log_begin
        after = f"{_LOG_PARTS}{have - 1:020d}~" if have else _LOG_PARTS
        for found in cloud.find(self.spec.prefix, after=after):
            if not found.key.startswith(_LOG_PARTS) or have >= end:
                break
            if int(found.key[len(_LOG_PARTS) : -len(_LOG_END)]) != have:
                continue
            if have + found.size > on_disk:
                _append(cloud, self.spec.prefix + found.key, path, self.log_begin + have)
            have += found.size
        self._log_have = have

    def _read_status(self, cloud: Cloud) -> None:
        text = cloud.get(self.spec.prefix + STATUS)
        if text is not None:
            self.status = read_status(text)

    def read_request(self, cloud: Cloud, now: float) -> None:
        """Learn what an earlier driver asked of the run."""
        from besom_sagemaker.job import read_stop

        text = cloud.get(self.spec.prefix + STOP)
        if text is not None:
            self.asked, self.asked_at = read_stop(text), now

    def ask(self, cloud: Cloud, request: StopRequest, now: float) -> bool:
        """Ask the run to end, once; a later kill goes over a stop. Says whether this is new."""
        if self.asked is not None and self.asked.action in (request.action, "kill"):
            return False
        cloud.put(self.spec.prefix + STOP, request.to_json().encode())
        self.asked, self.asked_at = request, now
        return True

    def deliver(self, store: Store, sweep: Sweep, *, lease_seconds: float) -> Directive | None:
        """Bring what was fetched into the store; gives what is wanted of the run, None without news."""
        if self._have <= 0:
            return None
        if self._delivery is None:
            reporter = Reporter(store, self.run.lease, sweep, lease_seconds=lease_seconds)
            self._delivery = Delivery(store, reporter, self.folder.journal(self.run.attempt))
        wanted: Directive | None = None
        while (directive := self._delivery.deliver()) is not None:
            wanted = directive if wanted is None or directive.action != "continue" else wanted
        return wanted

    def close(self) -> None:
        """Let go of the journal."""
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None


def _append(cloud: Cloud, address: str, path: Path, have: int) -> None:
    """Add an object to a file of which `have` bytes are good."""
    data = cloud.get(address) or b""
    with path.open("r+b") as file:
        file.truncate(have)  # half a part, left by a driver that was killed
        file.seek(have)
        file.write(data)
