"""The least that AWS has to allow: to the person who submits jobs, and to the role that the jobs have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from besom.errors import UsageError
from besom_sagemaker.references import Reference
from besom_sagemaker.secrets import read_references

ANY_ACCOUNT = "*"


@dataclass(frozen=True, slots=True)
class Policies:
    """Two IAM policy documents, for the client's identity and for the jobs' role, and the role's trust."""

    client: Mapping[str, Any]
    role: Mapping[str, Any]
    trust: Mapping[str, Any]

    def to_json(self) -> str:
        """Give all three under their names, as JSON."""
        return json.dumps({"client": self.client, "role": self.role, "trust": self.trust}, indent=2)


def least_policy(
    *,
    prefix: str,
    role_arn: str,
    secrets: Mapping[str, str] | None = None,
    secret_name: str = "besom/*",  # noqa: S107 - a name, not a secret
    region: str | None = None,
    account: str | None = None,
    inputs: Iterable[str] = (),
    outputs: Iterable[str] = (),
    image_repository_arn: str | None = None,
    kms_keys: Iterable[str] = (),
    job_prefix: str = "besom-",
) -> Policies:
    """Give the least policies for sweeps whose files are below `prefix`, an s3:// address.

    `secrets` are the references of the jobs; `secret_name` is what `besom secrets push` may write. `inputs`
    are s3:// addresses that jobs read, `outputs` those they write beside `prefix`. Region and account are the
    role's account, and any region, unless they are given. UsageError for an address that is not s3://.
    """
    partition, account = _place(role_arn, account)
    here = _Place(partition, region or "*", account)
    references = read_references(secrets or {})
    written = [prefix, *outputs]
    keys = sorted(set(kms_keys))
    client = [
        _allow(
            "Jobs",
            ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags", "ListTags"),
            [here.arn("sagemaker", f"training-job/{job_prefix}*")],
            service="sagemaker",
        ),
        _allow("FindJobs", ("ListTrainingJobs",), ["*"], service="sagemaker"),
        {
            **_allow("PassRole", ("PassRole",), [role_arn], service="iam"),
            "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        },
        *_bucket(partition, "Files", ("GetObject", "PutObject", "DeleteObject"), [prefix]),
        _allow(
            "ReadLogs",
            ("GetLogEvents", "DescribeLogStreams", "FilterLogEvents"),
            [here.arn("logs", "log-group:/aws/sagemaker/TrainingJobs:*")],
            service="logs",
        ),
        *_push_statements(here, references, secret_name),
        *_key_statements(keys, ("kms:Decrypt", "kms:GenerateDataKey")),
    ]
    role = [
        *_bucket(partition, "Read", ("GetObject",), [*inputs, prefix]),
        *_bucket(
            partition, "Write", ("PutObject", "DeleteObject", "AbortMultipartUpload"), written, lists=False
        ),
        _allow(
            "Log",
            ("CreateLogGroup", "CreateLogStream", "PutLogEvents", "DescribeLogStreams"),
            [here.arn("logs", "log-group:/aws/sagemaker/TrainingJobs*")],
            service="logs",
        ),
        {
            **_allow("Metrics", ("PutMetricData",), ["*"], service="cloudwatch"),
            "Condition": {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        },
        *_image_statements(image_repository_arn),
        *_secret_statements(here, references, secret_name),
        *_key_statements(keys, ("kms:Decrypt", "kms:GenerateDataKey")),
    ]
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    return Policies(_policy(client), _policy(role), _policy([trust]))


@dataclass(frozen=True, slots=True)
class _Place:
    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def _place(role_arn: str, account: str | None) -> tuple[str, str]:
    """Give the partition and the account of a role."""
    found = re.fullmatch(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.+", role_arn)
    if found is None:
        raise UsageError(f"{role_arn!r} is not the ARN of a role: arn:aws:iam::123456789012:role/NAME")
    return found[1], account or found[2]


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(
    sid: str, actions: Iterable[str], resources: Iterable[str], *, service: str = ""
) -> dict[str, Any]:
    """Give a statement; actions get the service before them unless they have one."""
    named = [action if ":" in action else f"{service}:{action}" for action in actions]
    return {"Sid": sid, "Effect": "Allow", "Action": named, "Resource": list(dict.fromkeys(resources))}


def _bucket(
    partition: str, sid: str, actions: Iterable[str], addresses: Iterable[str], *, lists: bool = True
) -> list[dict[str, Any]]:
    """Allow actions on what is below addresses, and to list that and nothing else."""
    places = [_s3(address) for address in dict.fromkeys(addresses)]
    objects = [f"arn:{partition}:s3:::{bucket}/{key}*" for bucket, key in places]
    statements = [_allow(sid, actions, objects, service="s3")]
    if lists:
        for number, (bucket, key) in enumerate(places, 1):
            listing = _allow(
                f"{sid}List{number}", ("ListBucket",), [f"arn:{partition}:s3:::{bucket}"], service="s3"
            )
            if key:
                listing["Condition"] = {"StringLike": {"s3:prefix": [f"{key}*"]}}
            statements.append(listing)
    return statements


def _s3(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"{address!r} is not an address in S3: s3://bucket/prefix")
    key = parts.path.lstrip("/")
    return parts.netloc, key if not key or key.endswith("/") else f"{key}/"


def _secret_arn(here: _Place, name: str) -> str:
    # Secrets Manager adds a hyphen and six characters to a name; ? is one character each.
    ending = "" if name.endswith("*") else "-??????"
    return name if name.startswith("arn:") else here.arn("secretsmanager", f"secret:{name}{ending}")


def _parameter_arn(here: _Place, name: str) -> str:
    plain = re.sub(r":[^:/]*$", "", name) if not name.startswith("arn:") else name
    return plain if plain.startswith("arn:") else here.arn("ssm", f"parameter/{plain.lstrip('/')}")


def _push_statements(here: _Place, references: tuple[Reference, ...], secret: str) -> list[dict[str, Any]]:
    """Allow the client to push, where there is something that only it can read."""
    if all(reference.in_the_job for reference in references):
        return []
    actions = ("CreateSecret", "GetSecretValue", "PutSecretValue", "UpdateSecret", "TagResource")
    return [_allow("PushSecrets", actions, [_secret_arn(here, secret)], service="secretsmanager")]


def _secret_statements(here: _Place, references: tuple[Reference, ...], secret: str) -> list[dict[str, Any]]:
    """Allow the role to read exactly the secrets that are referred to."""
    secrets = [_secret_arn(here, one.target) for one in references if one.scheme == "secretsmanager"]
    secrets += [_secret_arn(here, secret) for one in references if not one.in_the_job][:1]
    parameters = [_parameter_arn(here, one.target) for one in references if one.scheme == "ssm"]
    statements: list[dict[str, Any]] = []
    if secrets:
        statements.append(_allow("ReadSecrets", ("GetSecretValue",), secrets, service="secretsmanager"))
    if parameters:
        statements.append(_allow("ReadParameters", ("GetParameter",), parameters, service="ssm"))
    return statements


def _image_statements(repository: str | None) -> list[dict[str, Any]]:
    """Allow the role to pull the image: from one repository of the account, or AWS's own images."""
    pull = ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    return [
        _allow("ImageToken", ("GetAuthorizationToken",), ["*"], service="ecr"),
        _allow("Image", pull, [repository or "*"], service="ecr"),
    ]


def _key_statements(keys: list[str], actions: tuple[str, ...]) -> list[dict[str, Any]]:
    return [_allow("Keys", actions, keys)] if keys else []
