"""Thirty secrets go through a real job whose program does all it can to show them."""

from __future__ import annotations

import json
from typing import Any

import pytest

SCRIPT = """
import base64, json, os, sys, urllib.parse
import besom

names = sorted(name for name in os.environ if name.startswith("SECRET_"))
values = [os.environ[name] for name in names]
assert len(values) == 30 and all(values)

def forms(value):
    raw = value.encode()
    yield from (value, repr(value), json.dumps(value), urllib.parse.quote(value, safe=""))
    yield from (base64.b64encode(raw).decode(), base64.b64encode(b"u:" + raw).decode(), raw.hex())
    yield from ("  " + line for line in value.splitlines())

run = besom.init()
for value in values:
    for form in forms(value):
        print("shows", form)
        print("complains", form, file=sys.stderr)
    for character in value:  # one write for each
        os.write(1, character.encode())
    os.write(1, b"\\n")
    run.log({"note": value, "loss": 0.5})
    run.config.update({"copy": {"of": value}}, allow_val_change=True)
    run.summary["last"] = [value]
print(dict(os.environ))
raise RuntimeError(f"cannot log in: {'x' * 150} {values[7]} {values[8]} {values}")
"""


def planted() -> dict[str, str]:
    """Thirty values as keys, passwords, files and documents look."""
    values: dict[str, str] = {}
    for n in range(8):
        values[f"SECRET_KEY_{n}"] = f"{n}k" + f"{0x9E3779B97F4A7C15 * (n + 1):x}"[:18]
        values[f"SECRET_DSN_{n}"] = f"postgresql://sweeper:p{n}%40Zq{n * 7919}x@db{n}.example.com/sweeps"
        values[f"SECRET_QUOTED_{n}"] = f"q{n}\"uo'te\\{n * 104729}$(x) &é"
    for n in range(3):
        body = "\n".join(f"MIIE{n}{line}{0x9E3779B97F4A7C15 * (line + 3):x}" for line in range(4))
        values[f"SECRET_FILE_{n}"] = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
        values[f"SECRET_JSON_{n}"] = json.dumps({"user": "svc", "password": f"jsonpw-{n}-{n * 31337}"})
    return values


def pieces(values: dict[str, str]) -> list[str]:
    """What must not be seen: values, lines of files, passwords of documents and addresses."""
    found: list[str] = []
    for name, value in values.items():
        lines = [line for line in value.splitlines() if "PRIVATE KEY" not in line]
        found += [value, json.dumps(value)[1:-1], *lines]
        if "DSN" in name:
            found.append(value.split(":")[2].split("@")[0])
        if "JSON" in name:
            found.append(json.loads(value)["password"])
    return found


@pytest.mark.slow
def test_none_of_thirty_secrets_is_in_any_output_of_a_job(lab: Any) -> None:
    values = planted()
    assert len(values) == 30
    secrets, parameters = lab.bench.client("secretsmanager"), lab.bench.client("ssm")
    references: dict[str, str] = {}
    in_one = {name: value for name, value in values.items() if "KEY" in name or "QUOTED" in name}
    secrets.create_secret(Name="team/all", SecretString=json.dumps(in_one))
    for name, value in values.items():
        references[name] = f"secretsmanager:team/all#{name}"
        if name not in in_one:
            parameters.put_parameter(Name=f"/team/{name}", Value=value, Type="SecureString")
            references[name] = f"ssm:/team/{name}"
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", SCRIPT, (spec,), secrets=references)
    told = lab.bench.wait("job-1")
    log = lab.bench.log("job-1")
    assert "cannot log in" in told["FailureReason"], log
    assert log.count("shows") >= 200
    outputs = {"log": log, "answer": json.dumps(told, default=str), "reason": told["FailureReason"]}
    s3 = lab.bench.world.s3
    for name in s3.names("s3://sweeps/"):
        outputs[name] = (s3.get(f"s3://sweeps/{name}") or b"").decode("utf-8", "replace")
    shown = [(where, piece) for piece in pieces(values) for where, text in outputs.items() if piece in text]
    assert shown == []
    # What besom shortens may break a secret off.
    beginnings = [value[:8] for name, value in values.items() if "KEY" in name]
    assert [one for one in beginnings if one in outputs["reason"]] == []
    assert {row["note"] for row in lab.logged(spec)} == {"***"}


def test_a_job_whose_image_lacks_what_is_left_to_it_says_so(lab: Any) -> None:
    text = b"# image-provides: torch, no-such-torch\n# image-has: no-such-torch\n"
    spec = lab.spec("r1", {"lr": 0.5})
    lab.submit("job-1", "", (spec,), files={"requirements.txt": text}, requirements="requirements.txt")
    told = lab.bench.wait("job-1")
    assert told["TrainingJobStatus"] == "Failed"
    assert "requirements.txt: the image has no no-such-torch" in told["FailureReason"]
