"""What jobs have cost: billable seconds times a price table, kept in a file beside the runs.

SageMaker bills each instance of a job by the second, spot training for less of them. Prices differ by region
and change, so they are given: dollars per hour by instance type.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from besom.errors import UsageError
from besom_sagemaker.cloud import JobState


@dataclass(frozen=True, slots=True)
class JobCost:
    """What one ended job was billed."""

    job: str
    instances: Mapping[str, int]  # how many of each type
    billable_seconds: int
    training_seconds: int

    @property
    def count(self) -> int:
        """How many instances it had."""
        return sum(self.instances.values())


def cost_of(job: JobState) -> JobCost:
    """Give what an ended job was billed."""
    return JobCost(job.name, job.instances, job.billable, job.training)


def usd_per_second(instances: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """Give what instances cost by the second; an instance type without a price costs nothing."""
    return sum(count * prices.get(instance, 0.0) for instance, count in instances.items()) / 3600


class Ledger:
    """The bills of a sweep's jobs, one line each in a file; a job is counted once."""

    def __init__(self, path: Path, prices: Mapping[str, float]) -> None:
        self._path, self._prices = path, prices
        self._jobs: dict[str, JobCost] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    cost = JobCost(**json.loads(line))
                except (ValueError, TypeError):  # half a line, left by a driver that was killed
                    continue
                self._jobs[cost.job] = cost

    def add(self, cost: JobCost) -> None:
        """Note a bill; again for the same job changes nothing."""
        if cost.job in self._jobs:
            return
        self._jobs[cost.job] = cost
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(asdict(cost))}\n")

    def __contains__(self, job: str) -> bool:
        return job in self._jobs

    @property
    def seconds(self) -> int:
        """Billable seconds of all jobs, each instance counted."""
        return sum(cost.billable_seconds * cost.count for cost in self._jobs.values())

    @property
    def saved(self) -> int:
        """Seconds that spot training did not bill."""
        return sum(
            max(0, cost.training_seconds - cost.billable_seconds) * cost.count for cost in self._jobs.values()
        )

    @property
    def usd(self) -> float:
        """Dollars for all jobs that have ended."""
        return sum(
            cost.billable_seconds * usd_per_second(cost.instances, self._prices)
            for cost in self._jobs.values()
        )

    def is_spent(self, budget: float, since: Iterable[float], rate: float, *, ahead: float) -> bool:
        """Say whether a budget is met within `ahead` seconds.

        By the bills, and by jobs that run since these times at `rate` dollars a second. Those are counted in
        full, though spot training will bill less of them: a budget is rather kept than used up.
        """
        now = time.time()
        return self.usd + sum(rate * (now - one + ahead) for one in since) >= budget


def require_prices(prices: Mapping[str, float], instances: Iterable[str]) -> None:
    """Raise UsageError if a budget is to be kept and an instance type has no price."""
    missing = [instance for instance in instances if instance not in prices]
    if missing:
        raise UsageError(
            f"a budget needs the price of {', '.join(missing)}:"
            f" give prices={{{missing[0]!r}: DOLLARS_PER_HOUR}}"
        )
