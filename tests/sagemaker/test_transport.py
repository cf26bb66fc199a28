from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from besom_sagemaker.redact import Redactor
from besom_sagemaker.transport import JournalSender, fetch_journal, metrics_of, part_name

PREFIX = "s3://sweeps/run/"


def sender(lab: Any, path: Path, redactor: Redactor, sent: int = 0) -> JournalSender:
    return JournalSender(lab.bench.world.s3, PREFIX, path, redactor, sent=sent, seen=lambda _: None)


def line(step: int, text: str = "") -> bytes:
    body = {"step": step, "data": {"loss": 0.5, "text": text}}
    return json.dumps({"kind": "history", "time": 1.0, "body": body}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("seed", range(3))
def test_parts_joined_are_the_journal_however_both_ends_die(lab: Any, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    local, mirror = tmp_path / "local", tmp_path / "mirror"
    whole = b"".join(line(step, "x" * chance.randrange(200)) for step in range(60))
    local.write_bytes(b"")
    sending, at = sender(lab, local, Redactor()), 0
    while at < len(whole):
        more = chance.randrange(1, 900)
        with local.open("ab") as file:
            file.write(whole[at : at + more])  # also in the middle of a line
        at += more
        if chance.random() < 0.6:
            while sending.send():
                pass
        if chance.random() < 0.3:  # the container is lost, and begins anew with what S3 has
            at = fetch_journal(lab.bench.world.s3, PREFIX, tmp_path / f"again{at}")
            local.write_bytes(whole[:at])
            sending = sender(lab, local, Redactor(), sent=at)
        if chance.random() < 0.3:
            fetch_journal(lab.bench.world.s3, PREFIX, mirror)
            assert whole.startswith(mirror.read_bytes())
    while sending.send():
        pass
    assert fetch_journal(lab.bench.world.s3, PREFIX, mirror) == len(whole)
    assert mirror.read_bytes() == whole


def test_a_part_that_does_not_join_waits_for_the_one_before(lab: Any, tmp_path: Path) -> None:
    s3, mirror = lab.bench.world.s3, tmp_path / "mirror"
    s3.put(PREFIX + part_name(len(line(0))), line(1))
    assert fetch_journal(s3, PREFIX, mirror) == 0
    s3.put(PREFIX + part_name(0), line(0))
    fetch_journal(s3, PREFIX, mirror)
    assert mirror.read_bytes() == line(0) + line(1)


def test_secrets_leave_whole_entries_behind(lab: Any, tmp_path: Path) -> None:
    local, mirror = tmp_path / "local", tmp_path / "mirror"
    local.write_bytes(line(0, 'the "key" is 12345') + line(1, "nothing") + b"no entry 12345\n")
    sending = sender(lab, local, Redactor(["12345"]))
    while sending.send():
        pass
    fetch_journal(lab.bench.world.s3, PREFIX, mirror)
    first, second, third = mirror.read_bytes().splitlines()
    assert json.loads(first)["body"]["data"]["text"] == 'the "key" is ***'
    assert second + b"\n" == line(1, "nothing")
    assert third == b"no entry ***"


def test_the_numbers_of_a_part_are_those_of_its_last_row() -> None:
    assert metrics_of(line(1) + line(2) + b'{"kind":"summary","time":1,"body":{}}\n') == (2, {"loss": 0.5})
    assert metrics_of(b'{"kind":"start","time":1,"body":{}}\n') is None
    assert metrics_of(b'{"kind":"history" torn\n') is None
