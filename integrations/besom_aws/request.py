"""What goes into a request to AWS: an agent's words, its environment; and a check before it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from besom.errors import UsageError
from besom.launch.pairs import parse_pairs
from besom.store.address import hide_password
from besom_aws.references import Reference, parse_reference

GRACE = 20
"""Seconds that a program has between SIGTERM and SIGKILL: AWS kills the agent itself after 30."""


def agent_command(sweep_id: str, arguments: Sequence[str]) -> list[str]:
    """Give the command of a container, the agent's; it ends its program before AWS ends both."""
    told = any(word == "--grace" or word.startswith("--grace=") for word in arguments)
    return ["besom", "agent", sweep_id, *(() if told else ("--grace", str(GRACE))), *arguments]


def store_variable(store: str, brought: bool, remedy: str) -> dict[str, str]:
    """Give BESOM_STORE for containers, nothing where they have it already (`brought`).

    UsageError for a store that other machines cannot reach, or whose address must not be shown; `remedy` says
    what to do about the latter.
    """
    if brought:
        return {}
    if store.startswith("sqlite:"):
        raise UsageError(
            f"the store {store} is a file of this machine, and the agents run on others; use one that they"
            " reach: --store postgresql://…, or `besom serve` and --store http://…"
        )
    if hide_password(store) != store:
        raise UsageError(
            f"the address {hide_password(store)} holds a password, and requests and job definitions are read"
            f" by many; {remedy}"
        )
    return {"BESOM_STORE": store}


def parse_environment(words: Iterable[str]) -> dict[str, str]:
    """Read the variables of `--env`; UsageError for one that holds a password."""
    variables = parse_pairs("--env", words)
    for name, value in variables.items():
        if hide_password(value) != value:
            raise UsageError(
                f"--env {name}: the address holds a password, which requests show; give --secret {name}=…"
            )
    return variables


def parse_secrets(words: Iterable[str]) -> list[dict[str, str]]:
    """Read the references of `--secret`, as job definitions have them; UsageError for one AWS cannot read."""
    pairs = parse_pairs("--secret", words)
    return [
        {"name": name, "valueFrom": _value_from(name, parse_reference(text))} for name, text in pairs.items()
    ]


def _value_from(name: str, reference: Reference) -> str:
    if reference.scheme == "ssm":
        return reference.target
    if reference.scheme == "secretsmanager" and reference.is_arn:
        # The last two are a version; without both colons AWS does not take the key.
        return reference.target + ("" if reference.key is None else f":{reference.key}::")
    if reference.scheme == "secretsmanager":
        raise UsageError(
            f"--secret {name}: AWS reads a secret by its ARN only:"
            f" aws secretsmanager describe-secret --secret-id {reference.target} --query ARN"
        )
    raise UsageError(
        f"--secret {name}: AWS cannot read {reference}; write secretsmanager:ARN#KEY or ssm:/NAME, or --env"
    )


def named(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Give variables as AWS writes them."""
    return [{"name": name, "value": value} for name, value in pairs.items()]


def require_valid(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Raise UsageError unless the service's own description takes the request; needs no network."""
    from botocore.exceptions import ParamValidationError
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.validate import ParamValidator

    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)  # type: ignore[no-untyped-call,unused-ignore]
    shape = model.operation_model(operation).input_shape  # type: ignore[no-untyped-call,unused-ignore]
    report = ParamValidator().validate(request, shape)  # type: ignore[no-untyped-call,unused-ignore]
    if report.has_errors():
        raise UsageError(f"{operation}: {ParamValidationError(report=report.generate_report())}")


def shown(requests: Mapping[str, Any]) -> str:
    """Give requests by their operation, as JSON for a person to read."""
    return json.dumps(requests, indent=2)


def in_hundreds(items: Sequence[str]) -> Iterable[Sequence[str]]:
    """Give the items in pieces that AWS takes in one call."""
    return (items[start : start + 100] for start in range(0, len(items), 100))
