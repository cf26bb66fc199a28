"""`besom.sagemaker_auth()`: for code that calls `wandb.sagemaker_auth()`; writes no key anywhere.

W&B's function writes `secrets.env` into the source_dir, which is uploaded with the code. This one gives
references and remembers them: every `SageMakerSweep` of this process hands them to its jobs, which read the
values from AWS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from besom.errors import UsageError
from besom_sagemaker.secrets import read_references

API_KEY = "WANDB_API_KEY"
API_HOST = "api.wandb.ai"

_remembered: dict[str, str] = {}


def sagemaker_auth(
    overrides: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] = ".",
    api_key: str | None = None,
) -> dict[str, str]:
    """Remember the credentials that jobs need; gives the references, by environment variable.

    `api_key` is a W&B key: without one it is `WANDB_API_KEY` or the entry of api.wandb.ai in ~/.netrc. What
    `overrides` holds are references, or values, which then stay in this process's environment. UsageError if
    `path` has a `secrets.env`, as W&B's function leaves one behind.
    """
    left = Path(path) / "secrets.env"
    if left.exists():
        raise UsageError(
            f"{left} holds credentials and would be uploaded with the code; delete it and revoke them"
        )
    references = {API_KEY: f"env:{API_KEY}" if API_KEY in os.environ else f"netrc:{API_HOST}"}
    for name, value in {**(overrides or {}), **({API_KEY: api_key} if api_key else {})}.items():
        references[name] = _reference_to(name, value)
    read_references(references)
    _remembered.update(references)
    return references


def remembered() -> dict[str, str]:
    """Give the references of every `sagemaker_auth` call of this process."""
    return dict(_remembered)


def _reference_to(name: str, value: str) -> str:
    """Give a reference as it is; a value goes into this process's environment and is referred to."""
    try:
        read_references({name: value})
    except UsageError:
        read_references({name: f"env:{name}"})
        os.environ[name] = value
        return f"env:{name}"
    return value
