"""Names of training jobs: deterministic, so that submitting a job again is seen to be the same job."""

from __future__ import annotations

import hashlib
import re

PREFIX = "besom-"
"""What all names begin with, so that an IAM policy can be about these jobs alone."""

LONGEST = 63
_SWEEP = 8
_HASH = 6


def job_name(sweep_id: str, run_id: str, attempt: int) -> str:
    """Give `besom-<sweep8>-<run>-a<attempt>-<hash6>`: equal for equal arguments, and a valid name for any.

    At most 63 letters, digits and hyphens, as CreateTrainingJob asks; the hash keeps apart what shortening
    and replacing made alike.
    """
    ending = f"a{attempt}-{_hash(sweep_id, run_id, str(attempt))}"
    beginning = job_prefix(sweep_id)
    run = _word(run_id)[: LONGEST - len(beginning) - len(ending) - 2].strip("-") or "run"
    return f"{beginning}-{run}-{ending}"


def agent_job_name(sweep_id: str, number: int) -> str:
    """Give the name of the `number`-th job that runs an agent of the sweep."""
    return job_name(sweep_id, f"agent{number}", 1)


def job_prefix(sweep_id: str) -> str:
    """Give what the names of all of a sweep's jobs begin with."""
    return f"{PREFIX}{_word(sweep_id)[:_SWEEP].strip('-') or 'sweep'}"


def _word(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH]
