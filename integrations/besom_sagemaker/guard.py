"""What is looked at before anything leaves this machine: settings that cannot work, and secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from besom.errors import UsageError
from besom_sagemaker.cloud import instances_of
from besom_sagemaker.cost import require_prices
from besom_sagemaker.leaks import Leak, refuse_leaks, scan_files, scan_folder, scan_mapping
from besom_sagemaker.package import source_files
from besom_sagemaker.references import IN_THE_JOB
from besom_sagemaker.secrets import known_values
from besom_sagemaker.settings import is_networked, scheme_of
from besom_sagemaker.template import JobTemplate, local_source


def check_settings(settings: Mapping[str, Any], template: JobTemplate) -> None:
    """Raise UsageError for settings of a sweep that cannot work, and say what would."""
    per_job = settings.get("trials_per_job")
    if isinstance(per_job, int) and per_job < 1:
        raise UsageError(f"trials_per_job is {per_job}; at least 1 run is in a job")
    store = str(settings.get("store") or "")
    if per_job == "until_done" and not is_networked(store):
        raise UsageError(
            'trials_per_job="until_done" lets jobs take runs by themselves, but none can reach the SQLite'
            " file of this machine; give a number, such as trials_per_job=8, or a networked store by"
            ' reference, such as store="ssm:/besom/store"'
        )
    if is_networked(store) and scheme_of(store) not in IN_THE_JOB:
        raise UsageError(
            f"store: the address of a {scheme_of(store)} store would travel in the clear; put it into AWS"
            ' with `besom secrets push` and give its reference, such as store="ssm:/besom/store"'
        )
    if is_networked(store) and settings.get("count") is not None:
        raise UsageError(
            "count: jobs with a networked store take runs by themselves, and none counts for all of them;"
            " write `run_cap` in the sweep file"
        )
    if settings.get("budget_usd") is not None:
        require_prices(settings.get("prices") or {}, instances_of(template.request))


def refuse_secrets_of_sdk(template: Any, secrets: Mapping[str, str], *, allow: Sequence[str]) -> None:
    """Raise LeakError if an SDK would upload what looks like a secret while it makes a request."""
    known = known_values(secrets)
    found: list[Leak] = []
    for place in local_source(template):
        if place.is_dir():
            found += scan_folder(place, known=known, allow=allow)
        else:
            found += scan_files(place.parent, [place.name], known=known, allow=allow)
    refuse_leaks(found)


def refuse_secrets(
    template: JobTemplate, environment: Mapping[str, str], secrets: Mapping[str, str], *, allow: Sequence[str]
) -> None:
    """Raise LeakError if a job's code, hyperparameters or environment hold what looks like a secret."""
    known = known_values(secrets)
    found: list[Leak] = []
    for name in ("HyperParameters", "Environment"):
        found += scan_mapping(name, template.request.get(name, {}), known=known)
    found += scan_mapping("environment", environment, known=known)
    folder = template.source_dir
    if template.source is None and folder is not None:
        found += scan_files(folder, source_files(folder), known=known, allow=allow)
    refuse_leaks(found)
