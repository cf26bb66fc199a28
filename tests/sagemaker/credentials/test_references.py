from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom_sagemaker.references import (
    Reference,
    ReferenceFormatError,
    SecretUnavailableError,
    parse_reference,
    parse_references,
    resolve,
)

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/keys-AbCdEf"
VERSION = "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("secretsmanager:team/keys", Reference("X", "secretsmanager", "team/keys")),
        ("secretsmanager:team/keys#hf", Reference("X", "secretsmanager", "team/keys", "hf")),
        ("secretsmanager:me@work.com", Reference("X", "secretsmanager", "me@work.com")),
        ("secretsmanager:k@AWSPREVIOUS", Reference("X", "secretsmanager", "k", None, "AWSPREVIOUS")),
        (f"secretsmanager:k@{VERSION}", Reference("X", "secretsmanager", "k", None, VERSION)),
        ("secretsmanager:k#hf@blue", Reference("X", "secretsmanager", "k", "hf", "blue")),
        ("secretsmanager:k#@blue", Reference("X", "secretsmanager", "k", None, "blue")),
        (f"secretsmanager:{ARN}#a.b", Reference("X", "secretsmanager", ARN, "a.b")),
        ("ssm:/team/dsn", Reference("X", "ssm", "/team/dsn")),
        ("ssm:/team/dsn:3#url", Reference("X", "ssm", "/team/dsn:3", "url")),
        ("env:HF_TOKEN", Reference("X", "env", "HF_TOKEN")),
        ("netrc:api.wandb.ai", Reference("X", "netrc", "api.wandb.ai")),
        ("netrc:api.wandb.ai#login", Reference("X", "netrc", "api.wandb.ai", "login")),
    ],
)
def test_references_are_read_and_written_alike(text: str, expected: Reference) -> None:
    read = parse_reference("X", text)
    assert read == expected
    assert parse_reference("X", str(read)) == read


def test_an_arn_tells_its_region() -> None:
    assert parse_reference("X", f"secretsmanager:{ARN}").region == "eu-west-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hunter22", "is not a reference to a secret; write secretsmanager:NAME#KEY"),
        ("postgresql://u:pw@h/db", "never the value itself"),
        ("secretmanager:x", "did you mean secretsmanager:?"),
        ("SSM:/x", "did you mean ssm:?"),
        ("inline:hunter22", "a value in the clear; put it into AWS with `besom secrets push`"),
        ("file:key.pem", "names a file, which would travel with the code"),
        ("ssm://x", "write ssm:NAME, without //"),
        ("env:", "nothing follows env:"),
        ("env:A B", "comes the name of an environment variable"),
        ("ssm:/a b", "after ssm: comes a parameter's name"),
        ("secretsmanager:a b", "after secretsmanager: comes a secret's name or ARN"),
        ("secretsmanager:a#", "no key follows the #"),
        ("secretsmanager:a#k@", "no version follows the @"),
        ("ssm:/a#", "no key follows the #"),
        ("netrc:h#pass", "after netrc:h# comes login, account, password"),
        ("netrc:a/b", "comes the name of a machine"),
    ],
)
def test_what_is_no_reference_is_told_exactly(text: str, words: str) -> None:
    with pytest.raises(ReferenceFormatError) as error:
        parse_reference("TOKEN", text)
    assert words in str(error.value)
    assert str(error.value).startswith("secrets['TOKEN']")
    assert "hunter22" not in str(error.value)
    assert "u:pw" not in str(error.value)


@given(st.text("abcdefghij0123456789:/#@+=._-", min_size=8, max_size=30))
def test_no_message_repeats_what_may_be_a_secret(text: str) -> None:
    try:
        parse_reference("TOKEN", text)
    except ReferenceFormatError as error:
        assert text not in str(error)  # noqa: PT017 - most texts are no error


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ReferenceFormatError) as error:
        parse_references({"A": "x", "B-C": "env:X", "D": "env:D", "E": "ssm:"})
    assert [line.partition("]")[0] for line in str(error.value).splitlines()] == [
        "secrets['A'",
        "secrets['B-C'",
        "secrets['E'",
    ]


@pytest.fixture
def kept(client: Any) -> Any:
    """An account with a few secrets."""
    secrets, parameters = client("secretsmanager"), client("ssm")
    fields = {"hf": "hf-value-1", "wandb": "wandb-value-1", "port": 5432, "empty": "", "a@b": "at-value"}
    arn = secrets.create_secret(Name="team/keys", SecretString=json.dumps(fields))["ARN"]
    secrets.put_secret_value(SecretId="team/keys", SecretString=json.dumps({**fields, "hf": "hf-value-2"}))
    secrets.create_secret(Name="plain", SecretString="plain-value")
    secrets.create_secret(Name="binary", SecretBinary=b"\xff\xfe\x00")
    parameters.put_parameter(Name="/team/dsn", Value="postgresql://u:pw-value@h/db", Type="SecureString")
    return arn


def test_secrets_are_read_with_the_credentials_at_hand(kept: str, aws: str) -> None:
    assert resolve(
        {
            "HF_TOKEN": "secretsmanager:team/keys#hf",
            "OLD": "secretsmanager:team/keys#hf@AWSPREVIOUS",
            "WANDB_API_KEY": f"secretsmanager:{kept}#wandb",
            "PORT": "secretsmanager:team/keys#port",
            "AT": "secretsmanager:team/keys#a@b@AWSCURRENT",
            "PLAIN": "secretsmanager:plain",
            "DSN": "ssm:/team/dsn",
        },
        region=aws,
    ) == {
        "HF_TOKEN": "hf-value-2",
        "OLD": "hf-value-1",
        "WANDB_API_KEY": "wandb-value-1",
        "PORT": "5432",
        "AT": "at-value",
        "PLAIN": "plain-value",
        "DSN": "postgresql://u:pw-value@h/db",
    }


def test_every_secret_that_cannot_be_read_is_told_without_the_others_values(kept: str) -> None:
    with pytest.raises(SecretUnavailableError) as error:
        resolve(
            {
                "GOOD": "secretsmanager:plain",
                "ABSENT": "secretsmanager:nobody",
                "NO_KEY": "secretsmanager:team/keys#hff",
                "NOT_JSON": "secretsmanager:plain#x",
                "EMPTY": "secretsmanager:team/keys#empty",
                "BINARY": "secretsmanager:binary",
                "PARAMETER": "ssm:/nobody",
                "CLIENT": "env:HF_TOKEN",
            }
        )
    told = {line.split()[1]: line for line in str(error.value).splitlines()}
    assert "GOOD" not in told
    assert "there is none of this name" in told["ABSENT"]
    assert "no key 'hff'; it has a@b, empty, hf, port, wandb" in told["NO_KEY"]
    assert "not a JSON object" in told["NOT_JSON"]
    assert told["EMPTY"].endswith("it is empty")
    assert "it is binary" in told["BINARY"]
    assert "there is none of this name" in told["PARAMETER"]
    assert "besom secrets push" in told["CLIENT"]
    assert "value" not in str(error.value)


@pytest.mark.slow
def test_an_unreachable_aws_names_the_endpoint_that_a_closed_network_needs(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SecretUnavailableError, match=r"interface endpoint com\.amazonaws\.REGION\.ssm"):
        resolve({"X": "ssm:/x"})
