"""Rows to records, records to columns."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from besom.errors import UsageError
from besom.jsonable import json_writer
from besom.records import (
    CONTINUE,
    Agent,
    Attempt,
    Directive,
    HistoryRow,
    Limit,
    Metric,
    Run,
    RunState,
    Sweep,
    SweepState,
)

Row = tuple[Any, ...]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHABET = LETTERS + "0123456789"
ID_LENGTH = 8

_encode = json_writer()
_decode = json.JSONDecoder().decode
_RUN_STATES = {state.value: state for state in RunState}


def new_id() -> str:
    """Give 8 random characters; the first is a letter, so that no id looks like a number."""
    number = secrets.randbits(64)
    number, first = divmod(number, len(LETTERS))
    characters = [LETTERS[first]]
    for _ in range(ID_LENGTH - 1):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def dumps(value: Any) -> str:
    """Give `value` as JSON; UsageError for what JSON cannot hold, NaN and the infinities among it."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"a store keeps JSON, with non-finite numbers as strings ({error}): {ascii(value)[:200]}"
        ) from error


def finite(value: float | None) -> float | None:
    """Give `value` as a float, None unless it is finite."""
    return float(value) if value is not None and math.isfinite(value) else None


def plain(text: str | None) -> str | None:
    """Give `text` as UTF-8 can hold it: lone surrogates, as in undecodable file names, become escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def sweep_of(row: Row) -> Sweep:
    """Read a row of the sweep table."""
    (
        sweep_id, name, state, method, config, metric, run_cap, max_attempts, expected_runs, project, entity,
        text, folder, version, cursor, exhausted, created, updated,
    ) = row  # fmt: skip
    return Sweep(
        id=sweep_id,
        name=name,
        state=SweepState(state),
        method=method,
        config=_decode(config),
        metric=metric_of(metric),
        run_cap=run_cap,
        max_attempts=max_attempts,
        expected_runs=None if expected_runs is None else int(expected_runs),
        project=project,
        entity=entity,
        text=text,
        folder=folder,
        version=version,
        cursor=cursor,
        exhausted=bool(exhausted),
        created=created,
        updated=updated,
    )


@lru_cache
def metric_of(text: str | None) -> Metric | None:
    """Read a sweep's metric column."""
    if text is None:
        return None
    fields = _decode(text)
    limits = tuple(Limit(**limit) for limit in fields.pop("limits", ()))
    return Metric(**fields, limits=limits)


def metric_text(metric: Metric | None) -> str | None:
    """Give a sweep's metric column."""
    return None if metric is None else dumps(asdict(metric))


def run_of(row: Row) -> Run:
    """Read a row of the run table."""
    (
        run_id, sweep_id, number, name, state, params, key, source, attempt, failures, crashes, config,
        summary, value, agent_id, stop_reason, exit_code, error, created, started, ended, changed,
        _project, _kill, _lease,
    ) = row  # fmt: skip
    return Run(
        id=run_id,
        sweep_id=sweep_id,
        number=number,
        name=name,
        state=_RUN_STATES[state],
        params=_decode(params),
        key=key,
        source=source,
        attempt=attempt,
        failures=failures,
        crashes=crashes,
        config=_decode(config),
        summary=_decode(summary),
        value=value,
        agent_id=agent_id,
        stop_reason=stop_reason,
        exit_code=exit_code,
        error=error,
        created=created,
        started=started,
        ended=ended,
        changed=changed,
    )


def attempt_of(row: Row) -> Attempt:
    """Read a row of the attempt table."""
    run_id, attempt, agent_id, started, ended, state, superseded, exit_code, error, summary, value, _lost = (
        row
    )
    return Attempt(
        run_id=run_id,
        attempt=attempt,
        agent_id=agent_id,
        started=started,
        ended=ended,
        state=_RUN_STATES[state],
        superseded=bool(superseded),
        exit_code=exit_code,
        error=error,
        summary=_decode(summary),
        value=value,
    )


def latest_attempt(run: Run) -> Attempt:
    """Give the attempt that a running or ended run is at."""
    assert run.started is not None
    return Attempt(
        run_id=run.id,
        attempt=run.attempt,
        agent_id=run.agent_id,
        started=run.started,
        ended=run.ended,
        state=run.state,
        superseded=False,
        exit_code=run.exit_code,
        error=run.error,
        summary=run.summary,
        value=run.value,
    )


def history_of(row: Row) -> HistoryRow:
    """Read (seq, step, time, data)."""
    seq, step, time, data = row
    return HistoryRow(seq=seq, step=step, time=time, data=_decode(data))


def params_of(text: str) -> Mapping[str, Any]:
    """Read a params or summary column."""
    params: Mapping[str, Any] = _decode(text)
    return params


def agent_of(row: Row) -> Agent:
    """Read a row of the agent table."""
    agent_id, sweep_id, host, pid, started, seen, job = row
    return Agent(id=agent_id, sweep_id=sweep_id, host=host, pid=pid, started=started, seen=seen, job=job)


def directive_of(stop_reason: str | None, kill: int) -> Directive:
    """Give what is wanted of a running run."""
    if stop_reason is None:
        return CONTINUE
    return Directive("kill" if kill else "stop", stop_reason)
