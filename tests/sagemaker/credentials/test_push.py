from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import besom
from besom.errors import NotFoundError, UsageError
from besom_sagemaker import auth
from besom_sagemaker.references import resolve
from besom_sagemaker.secrets import SecretError, known_values, push

TOKEN = "hf_aVeryLongTokenOfHuggingFace12345678"
PASSWORD = "a-password-in-netrc"


@pytest.fixture
def here(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's machine: a token in the environment, a password in ~/.netrc."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {PASSWORD}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFERENCES = {"HF_TOKEN": "env:HF_TOKEN", "WANDB_API_KEY": "netrc:api.wandb.ai", "DSN": "ssm:/team/dsn"}


def test_what_the_client_has_becomes_a_secret_that_jobs_can_read(here: Path, aws: str) -> None:
    pushed = push(REFERENCES, "besom/demo")
    assert pushed.action == "created"
    assert pushed.references["DSN"] == "ssm:/team/dsn"
    assert pushed.references["HF_TOKEN"] == f"secretsmanager:{pushed.arn}#HF_TOKEN"
    assert TOKEN not in repr(pushed)
    given = {name: text for name, text in pushed.references.items() if name != "DSN"}
    assert resolve(given, region=aws) == {"HF_TOKEN": TOKEN, "WANDB_API_KEY": PASSWORD}


def test_pushing_again_writes_only_what_changed(
    here: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def versions() -> int:
        return len(client("secretsmanager").list_secret_version_ids(SecretId="besom/demo")["Versions"])

    push({"HF_TOKEN": "env:HF_TOKEN"}, "besom/demo")
    first = versions()
    assert push({"HF_TOKEN": "env:HF_TOKEN"}, "besom/demo").action == "unchanged"
    assert versions() == first
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}x")
    assert push(REFERENCES, "besom/demo").action == "updated"
    value = client("secretsmanager").get_secret_value(SecretId="besom/demo")["SecretString"]
    assert json.loads(value) == {"HF_TOKEN": f"{TOKEN}x", "WANDB_API_KEY": PASSWORD}


def test_nothing_to_push_calls_nothing() -> None:
    pushed = push({"DSN": "ssm:/team/dsn"}, "besom/demo", client=None, region="nowhere")
    assert (pushed.references, pushed.arn) == ({"DSN": "ssm:/team/dsn"}, None)


@pytest.mark.parametrize(
    ("reference", "kind", "words"),
    [
        ("env:NOT_SET", NotFoundError, "the variable NOT_SET is not set here"),
        ("env:SHORT", UsageError, "fewer than 4 cannot be kept out of logs"),
        ("netrc:nowhere.com", NotFoundError, "has no machine nowhere.com"),
        ("netrc:api.wandb.ai#account", NotFoundError, "has no account"),
    ],
)
def test_what_is_not_there_to_push_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, reference: str, kind: type[Exception], words: str
) -> None:
    monkeypatch.setenv("SHORT", "abc")
    with pytest.raises(kind, match=words):
        push({"X": reference}, "besom/demo")


def test_a_netrc_that_cannot_be_read_is_not_quoted(here: Path) -> None:
    (here / ".netrc").write_text(f"machine api.wandb.ai passwd {PASSWORD}\n")
    with pytest.raises(SecretError, match="cannot be read") as error:
        push({"X": "netrc:api.wandb.ai"}, "besom/demo")
    assert PASSWORD not in str(error.value)


def test_a_secret_of_another_shape_is_not_overwritten(here: Path, client: Any) -> None:
    client("secretsmanager").create_secret(Name="other", SecretString="somebody's")
    with pytest.raises(UsageError, match="not a JSON object; name another"):
        push({"HF_TOKEN": "env:HF_TOKEN"}, "other")


@pytest.mark.slow
def test_a_refusal_of_aws_does_not_quote_the_request(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SecretError, match="EndpointConnectionError") as error:
        push({"HF_TOKEN": "env:HF_TOKEN"}, "besom/demo")
    assert TOKEN not in str(error.value)
    assert error.value.__cause__ is None


def besom_secrets(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "besom", "secrets", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_prints_references_and_no_values(here: Path) -> None:
    done = besom_secrets("push", "HF_TOKEN", "WANDB_API_KEY=netrc:api.wandb.ai", "--name", "besom/demo")
    assert done.returncode == 0, done.stderr
    assert "created" in done.stderr
    references = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(references) == {"HF_TOKEN", "WANDB_API_KEY"}
    shown = besom_secrets("push", "HF_TOKEN", "--name", "besom/demo", "--json")
    assert json.loads(shown.stdout)["references"]["HF_TOKEN"] == references["HF_TOKEN"]
    checked = besom_secrets("check", *(f"{name}={text}" for name, text in references.items()))
    assert checked.returncode == 0, checked.stderr
    wrong = besom_secrets("check", f"HF_TOKEN={references['HF_TOKEN']}x")
    assert wrong.returncode == 1
    refused = besom_secrets("push", f"HF_TOKEN={TOKEN}")
    assert refused.returncode == 2
    for output in (done, shown, checked, wrong, refused):
        assert TOKEN not in output.stdout + output.stderr
        assert PASSWORD not in output.stdout + output.stderr
        assert "Traceback" not in output.stderr


def test_known_values_are_those_that_can_be_read(here: Path, client: Any) -> None:
    client("secretsmanager").create_secret(Name="plain", SecretString="plain-value")
    references = {"A": "env:HF_TOKEN", "B": "env:NOT_SET", "C": "secretsmanager:plain", "D": "ssm:/none"}
    assert known_values(references) == (TOKEN, "plain-value")


def test_sagemaker_auth_writes_nothing_and_remembers_references(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_remembered", dict[str, str]())
    source = here / "src"
    source.mkdir()
    assert besom.sagemaker_auth(path=source) == {"WANDB_API_KEY": "netrc:api.wandb.ai"}
    monkeypatch.setenv("WANDB_API_KEY", "to-be-replaced")
    given = besom.sagemaker_auth({"DSN": "ssm:/team/dsn"}, path=str(source), api_key="0123456789abcdef")
    assert given == {"WANDB_API_KEY": "env:WANDB_API_KEY", "DSN": "ssm:/team/dsn"}
    assert list(source.iterdir()) == []
    assert auth.remembered() == given
    pushed = push({"WANDB_API_KEY": auth.remembered()["WANDB_API_KEY"]}, "besom/demo")
    assert resolve(pushed.references) == {"WANDB_API_KEY": "0123456789abcdef"}
    (source / "secrets.env").write_text("WANDB_API_KEY=0123456789abcdef\n")
    with pytest.raises(UsageError, match="would be uploaded with the code") as error:
        besom.sagemaker_auth(path=source)
    assert "0123456789abcdef" not in str(error.value)
