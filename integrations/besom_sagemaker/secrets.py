"""Credentials on the client: reads them where they are, puts them into AWS, and gives references to them.

A job is told references only; see `references.py` for what they look like and how a job reads them.
"""

from __future__ import annotations

import json
import logging
import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from besom.errors import BesomError, NotFoundError, UsageError
from besom_sagemaker.redact import SHORTEST
from besom_sagemaker.references import (
    Reference,
    ReferenceFormatError,
    SecretUnavailableError,
    create_client,
    parse_references,
    resolve,
)

logger = logging.getLogger(__name__)

TAG = {"Key": "besom", "Value": "secrets"}


class SecretError(BesomError):
    """A secret cannot be read or kept; the message never holds its value."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What `push` has done: the references that jobs get, and the secret they point to."""

    references: Mapping[str, str]
    arn: str | None = None
    action: str = "nothing to push"
    values: tuple[str, ...] = field(default=(), repr=False)


def read_references(references: Mapping[str, str]) -> tuple[Reference, ...]:
    """Read references as `parse_references` does; UsageError names all that are wrong."""
    try:
        return parse_references(references)
    except ReferenceFormatError as error:
        raise UsageError(str(error)) from None


def client_value(reference: Reference, environ: Mapping[str, str] | None = None) -> str:
    """Read an `env:` or `netrc:` reference on this machine; NotFoundError where there is nothing."""
    environ = os.environ if environ is None else environ
    value = (
        _variable(reference, environ) if reference.scheme == "env" else _netrc_entry(reference, environ)
    ).strip()
    if len(value) < SHORTEST:
        raise UsageError(
            f"secret {reference.name} ({reference}) has {len(value)} characters: a value of fewer than"
            f" {SHORTEST} cannot be kept out of logs"
        )
    return value


def _variable(reference: Reference, environ: Mapping[str, str]) -> str:
    value = environ.get(reference.target)
    if not value:
        raise NotFoundError(f"secret {reference.name}: the variable {reference.target} is not set here")
    return value


def _netrc_entry(reference: Reference, environ: Mapping[str, str]) -> str:
    """Give a field of a machine's entry in `NETRC`, else ~/.netrc."""
    path = Path(environ.get("NETRC") or Path(environ.get("HOME") or Path.home()) / ".netrc")
    try:
        entry = netrc.netrc(path).authenticators(reference.target)
    except FileNotFoundError:
        raise NotFoundError(f"secret {reference.name}: there is no {path}") from None
    except netrc.NetrcParseError as error:  # its message quotes the file
        raise SecretError(f"secret {reference.name}: {path}:{error.lineno} cannot be read") from None
    if entry is None:
        raise NotFoundError(f"secret {reference.name}: {path} has no machine {reference.target}")
    fields = {"login": entry[0], "account": entry[1], "password": entry[2]}
    value = fields[reference.key or "password"]
    if not value:
        raise NotFoundError(
            f"secret {reference.name}: {path} has no {reference.key or 'password'} for {reference.target}"
        )
    return value


def push(
    references: Mapping[str, str],
    secret: str,
    *,
    kms_key: str | None = None,
    region: str | None = None,
    client: Any = None,
) -> Pushed:
    """Put what only this machine can read into one Secrets Manager secret; gives references for jobs.

    The secret, made if there is none, is a JSON object with a key per environment variable; its other keys
    stay. Nothing is written where nothing changed. References that a job can read come back as they were.
    """
    parsed = read_references(references)
    if not any(not reference.in_the_job for reference in parsed):
        return Pushed({reference.name: str(reference) for reference in parsed})
    values = {reference.name: client_value(reference) for reference in parsed if not reference.in_the_job}
    try:
        arn, action = _store(client or create_client("secretsmanager", region), secret, values, kms_key)
    except ImportError:
        raise
    except Exception as error:
        # boto3's errors are made at run time; one that quotes the request would quote the secret.
        if type(error).__module__.partition(".")[0] not in {"botocore", "boto3"}:
            raise
        raise SecretError(f"cannot write the secret {secret}: {_told(error)}") from None
    logger.info("secret %s %s", arn, action)
    given = {
        reference.name: str(reference) if reference.in_the_job else f"secretsmanager:{arn}#{reference.name}"
        for reference in parsed
    }
    return Pushed(given, arn, action, tuple(values.values()))


def _store(client: Any, secret: str, values: Mapping[str, str], kms_key: str | None) -> tuple[str, str]:
    """Merge the values into the secret; gives its ARN and what was done."""
    try:
        got = client.get_secret_value(SecretId=secret)
    except client.exceptions.ResourceNotFoundException:
        options = {"KmsKeyId": kms_key} if kms_key else {}
        made = client.create_secret(
            Name=secret,
            Description="Credentials of besom's jobs",
            SecretString=_document(values),
            Tags=[TAG],
            **options,
        )
        return str(made["ARN"]), "created"
    kept = _fields_of(secret, got.get("SecretString"))
    arn = str(got["ARN"])
    if all(kept.get(name) == value for name, value in values.items()):
        return arn, "unchanged"
    if kms_key:
        client.update_secret(SecretId=arn, KmsKeyId=kms_key)
    client.put_secret_value(SecretId=arn, SecretString=_document({**kept, **values}))
    return arn, "updated"


def _document(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _fields_of(secret: str, document: str | None) -> dict[str, Any]:
    try:
        read: Any = json.loads(document or "")
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise UsageError(f"the secret {secret} is there and is not a JSON object; name another with --name")
    return read  # pyright: ignore[reportUnknownVariableType]


def _told(error: Exception) -> str:
    """Say what AWS refused, by its code; its message may quote what was sent."""
    response: Any = getattr(error, "response", None)
    if not response:
        return type(error).__name__
    code, operation = response.get("Error", {}).get("Code"), getattr(error, "operation_name", "")
    return f"{code} from {operation}; `besom sagemaker iam-policy` prints what the client needs"


def known_values(references: Mapping[str, str], *, region: str | None = None) -> tuple[str, ...]:
    """Give the values that this machine can read, for the scan before an upload; the rest is left out."""
    values: list[str] = []
    for reference in read_references(references):
        try:
            if reference.in_the_job:
                values += resolve({reference.name: str(reference)}, region=region).values()
            else:
                values.append(client_value(reference))
        except (SecretUnavailableError, BesomError) as error:  # noqa: PERF203 - each may fail alone
            logger.debug("not compared with what is uploaded: %s", error)
    return tuple(values)
