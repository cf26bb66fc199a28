"""`besom secrets`: put credentials where jobs read them, and give references."""

from __future__ import annotations

from collections.abc import Sequence

import click

from besom.cli.output import json_option, print_json, say
from besom.errors import UsageError


@click.group()
def secrets() -> None:
    """Credentials of jobs: they are told references, and read the values with their own role."""


@secrets.command()
@click.argument("references", nargs=-1, required=True, metavar="NAME[=REFERENCE]...")
@click.option(
    "--name", "secret", default="besom/credentials", show_default=True, help="The Secrets Manager secret."
)
@click.option("--kms-key", metavar="ID", help="The KMS key to encrypt it with.  [default: AWS's own]")
@click.option("--region", help="The AWS region.  [default: the environment's]")
@json_option
def push(
    references: tuple[str, ...], *, secret: str, kms_key: str | None, region: str | None, as_json: bool
) -> None:
    """Read credentials here, put them into AWS Secrets Manager, and print references for jobs.

    REFERENCE is env:NAME or netrc:HOST, and env:NAME when it is left out. Values are never written on the
    command line, where other processes see them.
    """
    from besom_sagemaker.secrets import push as push_secrets

    pushed = push_secrets(parse_words(references), secret, kms_key=kms_key, region=region)
    if as_json:
        print_json({"secret": pushed.arn, "action": pushed.action, "references": dict(pushed.references)})
        return
    say(f"{pushed.arn}: {pushed.action}" if pushed.arn else pushed.action)
    for name, reference in pushed.references.items():
        click.echo(f"{name}={reference}")


@secrets.command()
@click.argument("references", nargs=-1, required=True, metavar="NAME=REFERENCE...")
@click.option("--region", help="The AWS region.  [default: the environment's]")
def check(references: tuple[str, ...], *, region: str | None) -> None:
    """Say whether references can be read with the credentials of this machine; prints no values."""
    from besom_sagemaker.references import SecretUnavailableError, resolve
    from besom_sagemaker.secrets import SecretError, client_value, read_references

    parsed = read_references(parse_words(references))
    for reference in parsed:
        if not reference.in_the_job:
            client_value(reference)
    try:
        resolve({one.name: str(one) for one in parsed if one.in_the_job}, region=region)
    except SecretUnavailableError as error:
        raise SecretError(str(error)) from None
    for reference in parsed:
        click.echo(f"{reference.name}: {reference} can be read")


def parse_words(words: Sequence[str]) -> dict[str, str]:
    """Read `NAME=REFERENCE` words; a NAME alone is the variable of that name."""
    references: dict[str, str] = {}
    for word in words:
        name, _, reference = word.partition("=")
        if name in references:
            raise UsageError(f"{name} is there twice")
        references[name] = reference or f"env:{name}"
    return references
