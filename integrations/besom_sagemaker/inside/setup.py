"""Makes a job ready for its runs: the user's code, what it requires, and the secrets."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from besom.errors import BesomError
from besom_sagemaker.inside.place import Place
from besom_sagemaker.job import CHANNEL, JobDocument, Launch
from besom_sagemaker.references import (
    IN_THE_JOB,
    ReferenceFormatError,
    SecretUnavailableError,
    resolve,
)
from besom_sagemaker.requirements.install import InstallError, install
from besom_sagemaker.s3 import S3


class SetupError(BesomError):
    """The job cannot run anything: its code, its requirements or a secret is missing."""


def fetch_code(launch: Launch, place: Place, s3: S3) -> Path:
    """Give the folder that programs are started in, with the user's code in it."""
    folder = _source(launch.source, place, s3)
    where = folder / (launch.folder or ".")
    if not where.is_dir():
        raise SetupError(f"the working directory {launch.folder!r} is not in the job's code, {launch.source}")
    return where


def _source(source: str | None, place: Place, s3: S3) -> Path:
    if source is None:
        return Path.cwd()
    if source.startswith("s3://"):
        archive = place.home / "source.tar.gz"
        s3.fetch(source, archive)
    elif source.startswith("channel:"):
        name, _, file = source.removeprefix("channel:").partition("/")
        archive = place.channel(name) / file
    else:
        raise SetupError(f"launch.source {source!r} is neither channel:NAME nor s3://")
    if not archive.exists():
        raise SetupError(f"the job's code is not there: {source}")
    if archive.is_dir():
        return archive
    code = place.base / "code"
    code.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as found:
        if hasattr(tarfile, "data_filter"):
            found.extractall(code, filter="data")
        else:
            found.extractall(code)  # noqa: S202 - the user's own archive
    return code


def install_requirements(document: JobDocument, place: Place) -> None:
    """Install what the code requires and the image lacks; SetupError with what pip says when it cannot."""
    if document.requirements is None:
        return
    try:
        install(str(place.channel(CHANNEL) / document.requirements), ["--quiet"])
    except (InstallError, OSError) as error:
        raise SetupError(f"{document.requirements}: {error}") from error


def read_secrets(references: Mapping[str, str]) -> dict[str, str]:
    """Read the secrets that the job was given references to; SetupError tells of all that cannot be read."""
    if not references:
        return {}
    try:
        return resolve(references, region=os.environ.get("AWS_REGION"))
    except (SecretUnavailableError, ReferenceFormatError) as error:
        raise SetupError(str(error)) from error


def store_address(document: JobDocument) -> str | None:
    """Give the address of the store in store mode; None in a job that has its runs with it."""
    if document.store is None or document.store.partition(":")[0] not in IN_THE_JOB:
        return document.store
    return read_secrets({"BESOM_STORE": document.store})["BESOM_STORE"]
