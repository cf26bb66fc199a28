"""A run's journal, brought from S3 into this machine's run folder and from there into the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from besom.folders import RunFolder
from besom.journal import Delivery
from besom.records import Directive, Run, Sweep
from besom.scheduler import Reporter
from besom.store.base import Store
from besom_sagemaker.cloud import Cloud
from besom_sagemaker.job import STATUS, STOP, RunSpec, RunStatus, StopRequest, read_status

_PARTS = "journal/"
_PART_END = ".jsonl"


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
    _have: int = -1  # bytes of the journal on disk; -1: not looked yet
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
        """Say whether it has ended and all that it logged is here."""
        status = self.status
        return status is not None and status.state == "ended" and self._have >= status.journal_bytes

    def fetch(self, cloud: Cloud) -> None:
        """Bring what is new: parts of the journal, and the status."""
        path = self.folder.journal(self.run.attempt)
        if self._have < 0:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            path.touch()
            on_disk, first, after = path.stat().st_size, True, ""
        else:
            # Behind the last part that is here; `~` sorts after the "." of its ending.
            on_disk, first = self._have, False
            after = f"{_PARTS}{max(0, self._have - 1):020d}~" if self._have else ""
        have, etag = 0 if first else self._have, self._etag
        for found in cloud.find(self.spec.prefix, after=after):
            if found.key.startswith(_PARTS) and found.key.endswith(_PART_END):
                begins = int(found.key[len(_PARTS) : -len(_PART_END)])
                if begins != have:
                    continue  # it is here already
                if not first or begins + found.size > on_disk:
                    self._append(cloud, found.key, have)
                have = begins + found.size
            elif found.key == STATUS:
                etag = found.etag
        self._have = have
        if etag != self._etag:
            self._read_status(cloud)
            self._etag = etag

    def _append(self, cloud: Cloud, key: str, have: int) -> None:
        data = cloud.get(self.spec.prefix + key) or b""
        with self.folder.journal(self.run.attempt).open("r+b") as file:
            file.truncate(have)  # half a part, left by a driver that was killed
            file.seek(have)
            file.write(data)

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
