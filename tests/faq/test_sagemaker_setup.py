"""Can I use Sweeps and SageMaker? What the FAQ says one needs first: a login and a requirements.txt.

"You will need to authenticate W&B, and you will need to create a requirements.txt file if you use a built-in
SageMaker estimator." Here the first puts no key into the estimator's folder, and the second is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from moto.server import ThreadedMotoServer


class Person(Protocol):
    """Whoever follows the FAQ; see conftest.py."""

    folder: Path

    def write(self, name: str, text: str) -> Path: ...
    def do(self, *words: str, **environment: str) -> str: ...


KEY = "0123456789abcdef0123456789abcdef01234567"

TRAIN = """
import argparse
import yaml
import besom as wandb

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
with wandb.init(config=vars(parser.parse_args())) as run:
    run.log({"loss": yaml.safe_load(str(run.config.lr))})
"""

AUTH = """
import besom as wandb

print(wandb.sagemaker_auth(path="src")["WANDB_API_KEY"])
"""


@pytest.fixture
def account(person: Any) -> Iterator[None]:
    """An AWS account, and the person's key for it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    person.environment.update(
        AWS_ENDPOINT_URL=f"http://{host}:{port}",
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        NO_PROXY="127.0.0.1",
    )
    yield
    server.stop()


@pytest.mark.slow
def test_authentication_leaves_no_key_where_the_estimator_uploads_from(person: Person, account: None) -> None:
    (person.folder / "src").mkdir()
    person.write("src/train.py", TRAIN)
    person.write("auth.py", AUTH)
    reference = person.do("python", "auth.py", WANDB_API_KEY=KEY).strip()
    assert reference == "env:WANDB_API_KEY"
    pushed = person.do("besom", "secrets", "push", f"WANDB_API_KEY={reference}", WANDB_API_KEY=KEY)
    assert pushed.startswith("WANDB_API_KEY=secretsmanager:arn:aws:secretsmanager:us-east-1:")
    assert "can be read" in person.do("besom", "secrets", "check", pushed.strip())
    kept = [path for path in person.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []


def test_the_requirements_file_is_made(person: Person) -> None:
    (person.folder / "src").mkdir()
    person.write("src/train.py", TRAIN)
    person.do("besom", "requirements", "src/train.py", "-o", "src/requirements.txt")
    lines = (person.folder / "src/requirements.txt").read_text().splitlines()
    wanted = [line.partition("  #")[0].strip() for line in lines if line and not line.startswith("#")]
    assert [line.partition("==")[0].partition("-0")[0] for line in wanted] == ["./wheels/besom", "PyYAML"]
    assert (person.folder / "src" / wanted[0]).is_file()
