"""The runner: what process 1 of a training job does."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import FrameType

from besom.agent.ending import exit_status, read_tail
from besom.agent.process import child_environment, start_child
from besom.errors import BesomError
from besom.records import Outcome, RunState
from besom_sagemaker.inside.one import Ended, Event, Ready, execute
from besom_sagemaker.inside.output import Output
from besom_sagemaker.inside.place import Place, hosts_of, script_mode
from besom_sagemaker.inside.setup import fetch_code, install_requirements, read_secrets, store_address
from besom_sagemaker.job import (
    DOCUMENT,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_SETUP,
    JOB_CHANNEL,
    JobDocument,
    read_document,
)
from besom_sagemaker.redact import Redactor
from besom_sagemaker.s3 import create_s3

log = logging.getLogger(__name__)

FAILURE_LENGTH = 1000
"""Characters of /opt/ml/output/failure; the job's failure reason has 1024, with a word before them."""


class _Interrupted(BaseException):
    """SIGTERM came while no run was going on."""


class _Interruption:
    """Hears SIGTERM: hands it to the run that goes on, or ends the job at once."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.events: queue.SimpleQueue[Event] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.received.append(number)
        if self.events is None:
            raise _Interrupted
        self.events.put(number)


def run_job(base: Path) -> int:
    """Do what the document in the channel says; gives the job's exit code (`besom_sagemaker.job`)."""
    logging.basicConfig(format="besom: %(message)s", level=logging.INFO, stream=sys.stdout)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    place, interruption = Place(base), _Interruption()
    signal.signal(signal.SIGTERM, interruption)
    redactor = Redactor()
    try:
        path = place.channel(JOB_CHANNEL) / DOCUMENT
        document = read_document(path.read_bytes())
        ready = _make_ready(document, place)
        redactor = ready.redactor
        if document.store is not None:
            return _serve(ready, interruption)
        return _run_all(ready, interruption)
    except _Interrupted:
        log.info("told to end before the next run began")
        return EXIT_INTERRUPTED
    except (BesomError, OSError) as error:
        return _fail(place, f"nothing was run: {redactor.text(str(error))}", EXIT_SETUP)
    except Exception:  # noqa: BLE001 - the failure reason is all that anybody will see
        return _fail(place, f"the runner failed\n{redactor.text(traceback.format_exc())}", EXIT_SETUP)


def _make_ready(document: JobDocument, place: Place) -> Ready:
    secrets = read_secrets(document.secrets)
    address = store_address(document)
    values = [*secrets.values(), *([address] if address and "@" in address else [])]
    redactor = Redactor(values)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Clean(redactor))
    s3 = create_s3(region=os.environ.get("AWS_REGION"))
    code = fetch_code(document.launch, place, s3)
    install_requirements(document, place)
    os.chdir(code)
    _share_path(place)
    for name in ("BESOM_RUN_ID", "BESOM_STORE"):
        os.environ.pop(name, None)
    return Ready(
        document=replace(document, store=address),
        place=place,
        code=code,
        s3=s3,
        secrets=secrets,
        redactor=redactor,
        reports=hosts_of(place).first,
    )


class _Clean(logging.Filter):
    """Takes the secrets out of what the runner itself says."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor.text(record.getMessage()), None
        return True


def _share_path(place: Place) -> None:
    """Let programs find the besom that came with the job."""
    site = place.home / "site"
    if site.exists():
        theirs = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(site), *([theirs] if theirs else [])])


def _run_all(ready: Ready, interruption: _Interruption) -> int:
    failed = 0
    for number, spec in enumerate(ready.document.runs, 1):
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        interruption.events = events
        if interruption.received:
            break
        log.info("run %s (%d of %d), attempt %d", spec.run_id, number, len(ready.document.runs), spec.attempt)
        outcome = execute(ready, spec, events)
        log.info("run %s %s", spec.run_id, outcome.state.value)
        if outcome.state is RunState.FAILED:
            failed += 1
            _fail(ready.place, _reason(ready, spec.run_id, outcome), EXIT_FAILED)
        interruption.events = None
        if outcome.state is RunState.PREEMPTED and interruption.received:
            return EXIT_INTERRUPTED
    if interruption.received:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if failed else EXIT_DONE


def _reason(ready: Ready, run_id: str, outcome: Outcome) -> str:
    """Say why a run failed: the cause, and below it the last traceback, whose end matters most."""
    cause = (outcome.error or f"exit code {outcome.exit_code}").rstrip()
    printed = read_tail(ready.place.home / "runs" / run_id / "output.log")
    _, found, trace = printed.rpartition("Traceback (most recent call last):")
    said = f"run {run_id}: {cause.splitlines()[-1]}"
    return f"{said}\n{ready.redactor.text(found + trace)}".rstrip() if found else said


def _fail(place: Place, message: str, code: int) -> int:
    sys.stdout.write(f"besom: {message}\n")
    sys.stdout.flush()
    place.failure.parent.mkdir(parents=True, exist_ok=True)
    first, _, rest = message.partition("\n")
    first = first[: FAILURE_LENGTH // 2]
    left = FAILURE_LENGTH - len(first) - 1
    place.failure.write_text(f"{first}\n{rest[-left:]}" if rest else first, encoding="utf-8")
    return code


# ---- store mode


def _serve(ready: Ready, interruption: _Interruption) -> int:
    """Run an agent of the sweep, which takes its runs from the store itself."""
    document, place = ready.document, ready.place
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    interruption.events = events
    output = place.home / "agent.log"
    output.parent.mkdir(parents=True, exist_ok=True)
    scripts = script_mode(
        place,
        parameters={},
        flat={},
        code=ready.code,
        program=document.launch.program,
        model=place.base / "model",
        output=place.base / "output" / "data",
    )
    added = {"BESOM_STORE": document.store or "", "BESOM_DIR": str(place.home), "PYTHONUNBUFFERED": "1"}
    child = start_child(
        _agent_command(document),
        environment=child_environment(os.environ, scripts, document.environment, ready.secrets, added),
        folder=ready.code,
        output=output,
        on_end=lambda: events.put(Ended()),
    )
    shown = Output(output, ready.redactor)
    while True:
        try:
            event = events.get(timeout=0.1)
        except queue.Empty:
            shown.show()
            continue
        if isinstance(event, Ended):
            break
        if isinstance(event, int):
            child.signal(event)
    code = exit_status(child.reap())
    shown.close()
    if code in (EXIT_DONE, EXIT_INTERRUPTED):
        return code
    tail = ready.redactor.text(read_tail(output))
    return _fail(place, f"the agent left with exit code {code}\n{tail}", EXIT_FAILED)


def _agent_command(document: JobDocument) -> list[str]:
    words = [sys.executable, "-m", "besom", "agent", document.sweep_id, "--verbose"]
    words += ["--grace", f"{document.grace:g}"]
    if document.count is not None:
        words += ["--count", str(document.count)]
    if document.timeout is not None:
        words += ["--timeout", f"{document.timeout:g}"]
    return words
