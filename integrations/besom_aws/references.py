"""Where a secret is, said without saying it: what queue messages and job definitions hold instead of values.

    secretsmanager:NAME-OR-ARN[#KEY]   a secret of AWS Secrets Manager; KEY is a key of its JSON
    ssm:NAME-OR-ARN                    a parameter of AWS Systems Manager, decrypted
    env:NAME                           an environment variable of the agent

No message ever repeats the text of a reference that is not one: somebody may have written a secret there.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from besom.errors import NotFoundError, UsageError
from besom_aws.aws import create_client, explained

EXAMPLE = "secretsmanager:NAME#KEY, ssm:/NAME or env:NAME"

_PATTERNS = {
    "secretsmanager": re.compile(r"[A-Za-z0-9/_+=.@:-]{1,600}"),
    "ssm": re.compile(r"[A-Za-z0-9_./:-]{1,1011}"),
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}"),
}
_ARN = re.compile(r"arn:aws[a-z-]*:(?P<service>[a-z]+):(?P<region>[a-z0-9-]+):\d{12}:\S+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A place that holds a value."""

    scheme: str
    target: str
    key: str | None = None

    @property
    def region(self) -> str | None:
        """The AWS region, where the reference names one."""
        found = _ARN.fullmatch(self.target)
        return found["region"] if found else None

    @property
    def is_arn(self) -> bool:
        """Say whether it is told by its ARN."""
        return self.region is not None

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}" + ("" if self.key is None else f"#{self.key}")


def is_reference(text: str) -> bool:
    """Say whether a text means to be a reference rather than the address of a store."""
    return text.partition(":")[0] in _PATTERNS and "://" not in text


def parse_reference(text: str) -> Reference:
    """Read a reference; UsageError says what one looks like."""
    scheme, _, rest = text.partition(":")
    target, hash_, key = rest.partition("#")
    pattern = _PATTERNS.get(scheme)
    if pattern is None or not pattern.fullmatch(target):
        raise UsageError(f"that is no reference to a secret; write {EXAMPLE}, never the value itself")
    if hash_ and (scheme != "secretsmanager" or not key):
        raise UsageError("#KEY names a key of a secret's JSON: secretsmanager:NAME#KEY")
    return Reference(scheme, target, key or None)


def resolve(reference: Reference) -> str:
    """Read the value with this process's environment and AWS credentials.

    NotFoundError where there is none; AwsError and AwsAwayError as AWS answers.
    """
    if reference.scheme == "env":
        value = os.environ.get(reference.target, "")
    elif reference.scheme == "ssm":
        value = _parameter(reference)
    else:
        value = _secret(reference)
    if not value:
        raise NotFoundError(f"{reference} is empty or not set here")
    return value


def _parameter(reference: Reference) -> str:
    client = create_client("ssm", reference.region)
    with explained(f"reading {reference}"):
        return str(client.get_parameter(Name=reference.target, WithDecryption=True)["Parameter"]["Value"])


def _secret(reference: Reference) -> str:
    client = create_client("secretsmanager", reference.region)
    with explained(f"reading {reference}"):
        document = str(client.get_secret_value(SecretId=reference.target).get("SecretString", ""))
    if reference.key is None:
        return document
    try:
        read: Any = json.loads(document)
        value = read[reference.key]
    except (ValueError, TypeError, KeyError):
        raise NotFoundError(f"{reference}: the secret is no JSON object with that key") from None
    return value if isinstance(value, str) else json.dumps(value)
