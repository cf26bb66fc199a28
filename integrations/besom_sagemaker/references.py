"""References to secrets: what travels to a training job instead of the values, and how the job reads them.

    secretsmanager:NAME-OR-ARN[#KEY][@VERSION]   a secret of AWS Secrets Manager; KEY is a key of its JSON
    ssm:NAME-OR-ARN[#KEY]                        a parameter of AWS Systems Manager, decrypted
    env:NAME                                     on the client only: an environment variable
    netrc:HOST[#FIELD]                           on the client only: a password of ~/.netrc

Whole by itself: it imports the standard library, and boto3 when a secret is read, so that the program that
runs inside a training job carries this file as it is. No message ever repeats the text of a reference that is
not one: somebody may have written a secret there.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

IN_THE_JOB = ("secretsmanager", "ssm")
ON_THE_CLIENT = ("env", "netrc")
SCHEMES = (*IN_THE_JOB, *ON_THE_CLIENT)
NETRC_FIELDS = ("login", "account", "password")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,1011}(:[A-Za-z0-9_.\-]{1,100})?")
_ARN = re.compile(r"arn:aws[a-z-]*:(?P<service>[a-z]+):(?P<region>[a-z0-9-]+):\d{12}:\S+")
_VERSION_ID = re.compile(r"[A-Za-z0-9-]{32,64}")
_STAGES = ("AWSCURRENT", "AWSPREVIOUS", "AWSPENDING")


class ReferenceFormatError(ValueError):
    """A reference cannot be read; the message never holds its text."""


class SecretUnavailableError(RuntimeError):
    """Secrets cannot be read; says which, why, and what to do, one line each."""


@dataclass(frozen=True)
class Reference:
    """Where the value of one environment variable comes from."""

    name: str
    scheme: str
    target: str
    key: str | None = None
    version: str | None = None

    @property
    def in_the_job(self) -> bool:
        """Say whether the job can read it; else the client must, and push it."""
        return self.scheme in IN_THE_JOB

    @property
    def region(self) -> str | None:
        """The AWS region, where the reference names one."""
        found = _ARN.fullmatch(self.target)
        return found["region"] if found else None

    def __str__(self) -> str:
        key = "" if self.key is None else f"#{self.key}"
        if self.version is None:
            # A key with an @ in it would read as a key and a version.
            return f"{self.scheme}:{self.target}{key}" + ("@AWSCURRENT" if "@" in key else "")
        return f"{self.scheme}:{self.target}{key or '#'}@{self.version}"


def parse_references(references: Mapping[str, str]) -> tuple[Reference, ...]:
    """Read the references of environment variables; ReferenceFormatError names all that are wrong."""
    parsed: list[Reference] = []
    problems: list[str] = []
    for name, text in references.items():
        try:
            parsed.append(parse_reference(name, text))
        except ReferenceFormatError as error:  # noqa: PERF203 - all of them are told at once
            problems.append(str(error))
    if problems:
        raise ReferenceFormatError("\n".join(problems))
    return tuple(parsed)


def parse_reference(name: str, text: str) -> Reference:
    """Read one reference, for the environment variable `name`."""
    where = f"secrets[{name!r}]"
    if not _NAME.fullmatch(name):
        raise ReferenceFormatError(
            f"{where}: the name of an environment variable has letters, digits and _ only"
        )
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ReferenceFormatError(f"{where} is a {type(text).__name__}, not a reference like {_EXAMPLE}")
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise ReferenceFormatError(f"{where} {_unknown(scheme if colon else '')}")
    if rest.startswith("//"):
        raise ReferenceFormatError(f"{where}: write {scheme}:NAME, without //")
    if not rest.strip():
        raise ReferenceFormatError(f"{where}: nothing follows {scheme}:")
    return _READERS[scheme](name, where, rest)


_EXAMPLE = "secretsmanager:NAME#KEY, ssm:/NAME, env:NAME or netrc:HOST"


def _unknown(scheme: str) -> str:
    if scheme == "inline":
        return "is a value in the clear; put it into AWS with `besom secrets push` and give the reference"
    if scheme == "file":
        return "names a file, which would travel with the code; read it into a variable and use env:NAME"
    close = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1, cutoff=0.75)
    hint = f"did you mean {close[0]}:?" if close else f"write {_EXAMPLE}; never the value itself"
    return f"is not a reference to a secret; {hint}"


def _read_secret(name: str, where: str, rest: str) -> Reference:
    target, hash_, tail = rest.partition("#")
    key, version = _key_and_version(where, tail) if hash_ else (None, None)
    if not hash_:
        before, at, after = target.rpartition("@")
        if at and (after in _STAGES or (_VERSION_ID.fullmatch(after) and before)):
            target, version = before, after
    if not (_arn_of("secretsmanager", target) or _SECRET_NAME.fullmatch(target)):
        raise ReferenceFormatError(f"{where}: after secretsmanager: comes a secret's name or ARN")
    return Reference(name, "secretsmanager", target, key, version)


def _key_and_version(where: str, tail: str) -> tuple[str | None, str | None]:
    key, at, version = tail.rpartition("@")
    if not at:
        key, version = tail, ""
    if at and not version:
        raise ReferenceFormatError(f"{where}: no version follows the @")
    if not (key or version):
        raise ReferenceFormatError(f"{where}: no key follows the #")
    return key or None, version or None


def _read_parameter(name: str, where: str, rest: str) -> Reference:
    target, hash_, key = rest.partition("#")
    if hash_ and not key:
        raise ReferenceFormatError(f"{where}: no key follows the #")
    if not (_arn_of("ssm", target) or _PARAMETER_NAME.fullmatch(target)):
        raise ReferenceFormatError(
            f"{where}: after ssm: comes a parameter's name, like /team/dsn, or its ARN"
        )
    return Reference(name, "ssm", target, key or None)


def _read_variable(name: str, where: str, rest: str) -> Reference:
    if not _NAME.fullmatch(rest):
        raise ReferenceFormatError(f"{where}: after env: comes the name of an environment variable")
    return Reference(name, "env", rest)


def _read_netrc(name: str, where: str, rest: str) -> Reference:
    host, hash_, field = rest.partition("#")
    if not re.fullmatch(r"[A-Za-z0-9.\-:_]+", host):
        raise ReferenceFormatError(f"{where}: after netrc: comes the name of a machine in ~/.netrc")
    if hash_ and field not in NETRC_FIELDS:
        raise ReferenceFormatError(f"{where}: after netrc:{host}# comes {', '.join(NETRC_FIELDS)}")
    return Reference(name, "netrc", host, field or None)


_READERS: dict[str, Callable[[str, str, str], Reference]] = {
    "secretsmanager": _read_secret,
    "ssm": _read_parameter,
    "env": _read_variable,
    "netrc": _read_netrc,
}


def _arn_of(service: str, target: str) -> bool:
    found = _ARN.fullmatch(target)
    return found is not None and found["service"] == service


def resolve(references: Mapping[str, str], *, region: str | None = None) -> dict[str, str]:
    """Read the values through the AWS credentials of this process; in a job they are those of its role.

    One call is made for each secret, however many keys of it are used. SecretUnavailableError tells of every
    reference that cannot be read.
    """
    documents: dict[tuple[str, str, str | None], str | SecretUnavailableError] = {}
    clients: dict[tuple[str, str | None], Any] = {}
    values: dict[str, str] = {}
    problems: list[str] = []
    for reference in parse_references(references):
        place = (reference.scheme, reference.target, reference.version)
        if place not in documents:
            documents[place] = _fetch(reference, region, clients)
        document = documents[place]
        try:
            values[reference.name] = _pick(reference, document)
        except SecretUnavailableError as error:
            problems.append(f"secret {reference.name} ({reference}): {error}")
    if problems:
        raise SecretUnavailableError("\n".join(problems))
    return values


def _pick(reference: Reference, document: str | SecretUnavailableError) -> str:
    """Give the value that the reference means out of what was read."""
    if isinstance(document, SecretUnavailableError):
        raise document
    value = document if reference.key is None else _value_at(reference.key, document)
    if not value:
        raise SecretUnavailableError("it is empty")
    if "\0" in value:
        raise SecretUnavailableError("it holds a NUL, which no environment variable can")
    return value


def _value_at(key: str, document: str) -> str:
    try:
        read: Any = json.loads(document)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise SecretUnavailableError(f"it is not a JSON object, so it has no key; leave #{key} out")
    fields: dict[str, Any] = read  # pyright: ignore[reportUnknownVariableType]
    if key not in fields:
        raise SecretUnavailableError(f"it has no key {key!r}; it has {', '.join(sorted(fields)) or 'none'}")
    value = fields[key]
    return value if isinstance(value, str) else json.dumps(value)


def _fetch(
    reference: Reference, region: str | None, clients: dict[tuple[str, str | None], Any]
) -> str | SecretUnavailableError:
    """Give the whole document of a reference, or the error that tells why there is none."""
    if not reference.in_the_job:
        return SecretUnavailableError("only the client can read it; first: besom secrets push")
    try:
        import botocore.exceptions as aws
    except ModuleNotFoundError:
        return SecretUnavailableError("boto3 is not installed; it reads AWS's secrets")
    region = reference.region or region
    place = (reference.scheme, region)
    try:
        if place not in clients:
            clients[place] = create_client(*place)
        return _FETCHERS[reference.scheme](clients[place], reference)
    except SecretUnavailableError as error:
        return error
    except aws.ClientError as error:
        response: Any = error.response
        return SecretUnavailableError(_explain(reference, response.get("Error", {})))
    except aws.BotoCoreError as error:
        return SecretUnavailableError(_explain_connection(reference, error))


def create_client(service: str, region: str | None = None) -> Any:
    """Give a boto3 client that gives up after about a minute; region None is the environment's."""
    import boto3
    from botocore.config import Config

    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client(service, region_name=region, config=config)  # pyright: ignore


def _fetch_secret(client: Any, reference: Reference) -> str:
    wanted = {"SecretId": reference.target}
    if reference.version is not None:
        by_id = _VERSION_ID.fullmatch(reference.version)
        wanted["VersionId" if by_id else "VersionStage"] = reference.version
    got = client.get_secret_value(**wanted)
    if "SecretString" in got:
        return str(got["SecretString"])
    try:
        return bytes(got["SecretBinary"]).decode()
    except UnicodeDecodeError:
        raise SecretUnavailableError("it is binary; an environment variable holds text only") from None


def _fetch_parameter(client: Any, reference: Reference) -> str:
    got = client.get_parameter(Name=reference.target, WithDecryption=True)
    return str(got["Parameter"]["Value"])


_FETCHERS: dict[str, Callable[[Any, Reference], str]] = {
    "secretsmanager": _fetch_secret,
    "ssm": _fetch_parameter,
}
_ACTIONS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter"}


def _explain(reference: Reference, error: Mapping[str, Any]) -> str:
    """Say what AWS's refusal means for the person who has to mend it."""
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if "kms" in message.lower() or code in {"DecryptionFailure", "InvalidKeyId"}:
        return f"its KMS key cannot be used; the role needs kms:Decrypt on it ({code})"
    if code.startswith("AccessDenied"):
        return f"access denied; the role needs {_ACTIONS[reference.scheme]} on it ({code})"
    if code in {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}:
        return f"there is none of this name, or version, in this account and region ({code})"
    if code.startswith(("ExpiredToken", "UnrecognizedClient", "InvalidClientToken", "InvalidSignature")):
        return f"AWS does not accept this process's credentials ({code})"
    return f"{code}: {message}"


def _explain_connection(reference: Reference, error: Exception) -> str:
    kind = type(error).__name__
    if "Credentials" in kind:
        return f"there are no AWS credentials here ({kind})"
    if "Region" in kind:
        return "no AWS region is set; set AWS_REGION or write the whole ARN"
    if kind.endswith(("ConnectionError", "TimeoutError", "ConnectTimeoutError")):
        return (
            f"AWS cannot be reached ({kind}); in a VPC without internet it needs the interface endpoint"
            f" com.amazonaws.REGION.{reference.scheme}"
        )
    return f"{kind}: {error}"
