"""Store mode: jobs that run agents of a store they can reach, and take their runs by themselves.

This machine only keeps as many jobs as there shall be until the sweep is over, or its budget is spent: then
the jobs are stopped, and their runs are queued again. It may be killed and started again like a driver: names
are counted, and one that is taken is a job to go on with.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from besom.agent.options import AgentEvent, AgentResult, ignore
from besom.agent.signals import received
from besom.records import SweepState
from besom.store.base import Store
from besom_sagemaker.capacity import Capacity, DriverOptions
from besom_sagemaker.cloud import Cloud, JobState, NotNowError
from besom_sagemaker.cost import Ledger, cost_of
from besom_sagemaker.job import DOCUMENT, Layout
from besom_sagemaker.names import agent_job_name, job_prefix
from besom_sagemaker.plan import Code, JobOptions, plan_document, plan_request
from besom_sagemaker.template import JobTemplate
from besom_sagemaker.validate import check_request

log = logging.getLogger(__name__)

UNFINISHED = frozenset({SweepState.PENDING, SweepState.RUNNING, SweepState.PAUSED})
_FAILURES = 3  # jobs failing one after another end it


class AgentJobs:
    """Keeps jobs that run agents of a sweep; see `run`."""

    def __init__(
        self,
        store: Store,
        sweep_id: str,
        address: str,
        *,
        cloud: Cloud,
        template: JobTemplate,
        job_options: JobOptions,
        layout: Layout,
        code: Code,
        ledger: Ledger,
        options: DriverOptions,
        runs_per_job: int | None = None,
        usd_per_second: float = 0.0,
        on_event: Callable[[AgentEvent], None] = ignore,
    ) -> None:
        self.store, self.sweep_id, self.address = store, sweep_id, address
        self.cloud, self.layout, self.code, self.ledger = cloud, layout, code, ledger
        self.template, self.job_options, self.options = template, job_options, options
        self.runs_per_job, self.usd_per_second = runs_per_job, usd_per_second
        self.live: dict[str, float] = {}  # names of jobs -> when they began, in seconds since the epoch
        self.capacity = Capacity(options.max_jobs, options)
        self._number = 0
        self._failed = 0
        self._spent = False
        self._now = 0.0
        self._signal: int | None = None
        self._woken = threading.Event()
        self._on_event = on_event

    def run(self) -> AgentResult:
        """Keep jobs until the sweep is over; a signal ends it, and the jobs go on."""
        with received(self._signaled, forward=False):
            while self._signal is None:
                over = ""
                try:
                    self._watch()
                    if self._failed >= _FAILURES:
                        return AgentResult(1, f"{self._failed} jobs failed one after another")
                    self._spend()
                    over = self._over()
                    if not over:
                        self._submit()
                except NotNowError as error:
                    log.warning("%s; trying again", error)
                if over and not self.live:
                    return AgentResult(0, over)
                self._woken.wait(self.options.poll_seconds)
                self._now += self.options.poll_seconds
        return AgentResult(
            128 + self._signal, f"received {signal.Signals(self._signal).name}; {len(self.live)} jobs go on"
        )

    def _signaled(self, number: int) -> None:
        self._signal = number
        self._woken.set()

    def _over(self) -> str:
        """Say why there shall be no more jobs; "" as long as there shall."""
        if self._spent:
            return f"the budget of {self.options.budget_usd:g} USD is spent"
        state = self.store.get_sweep(self.sweep_id).state
        return "" if state in UNFINISHED else f"the sweep is {state.value}"

    def _spend(self) -> None:
        """Stop all jobs once they have cost what they may; their programs can save what they need."""
        budget, rate = self.options.budget_usd, self.usd_per_second
        if budget is None or self._spent:
            return
        if self.ledger.is_spent(budget, self.live.values(), rate, ahead=self.options.poll_seconds):
            for name in self.live:
                self.cloud.stop(name)
            self._spent = True

    def _watch(self) -> None:
        if not self.live:
            return
        running = self.cloud.in_progress(job_prefix(self.sweep_id))
        for name in sorted(set(self.live) - set(running)):
            state = self.cloud.describe(name)
            if state is None or state.ended:
                del self.live[name]
                if state is not None:
                    self._ended(state)

    def _ended(self, state: JobState) -> None:
        if state.name not in self.ledger:
            self.ledger.add(cost_of(state))
            self._failed = self._failed + 1 if state.status == "Failed" else 0
            self._on_event(AgentEvent("leaving", detail=f"job {state.name} {state.status} {state.reason}"))

    def _submit(self) -> None:
        while len(self.live) < self.capacity.limit and self._now >= self.capacity.resume_at:
            name = agent_job_name(self.sweep_id, self._number + 1)
            request = self.request(name)
            try:
                new = self.cloud.create(request)
            except NotNowError as error:
                self.capacity.refused(self._now, len(self.live), lower=error.why == "quota")
                raise
            self._number += 1
            known = None if new else self.cloud.describe(name)
            self.live[name] = known.created if known else time.time()
            self._on_event(AgentEvent("joined", detail=name))

    def request(self, name: str) -> dict[str, Any]:
        """Give the request of one job, its document already in S3."""
        sweep = self.store.get_sweep(self.sweep_id)
        document = plan_document(
            sweep,
            self.template,
            self.job_options,
            self.code,
            job_name=name,
            store=self.address,
            count=self.runs_per_job,
        )
        request = plan_request(self.template, self.job_options, self.layout, self.code, document)
        check_request(request)
        self.cloud.put(self.layout.job(name) + DOCUMENT, document.to_json().encode())
        return request
