from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from besom_sagemaker import redact
from besom_sagemaker.redact import Redactor

SECRET = "s3cr3t/Value+42="

KEY_FILE = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASC
BKcwggSjAgEAAoIBAQDAAAABBBBCCCC0
-----END PRIVATE KEY-----
"""

# Few letters, so that secrets overlap themselves, each other and the text around them; the mark's among them.
SECRETS = st.lists(st.text("ab*/\n\\", min_size=4, max_size=10), min_size=1, max_size=4)
PIECES = st.lists(st.text("ab*/\n\\ é", max_size=12), max_size=12)


@given(SECRETS, PIECES, st.data())
def test_how_a_stream_is_cut_makes_no_difference(
    secrets: list[str], texts: list[str], data: st.DataObject
) -> None:
    pieces = [piece for text in texts for piece in (text, data.draw(st.sampled_from(["", *secrets])))]
    whole = "".join(pieces).encode()
    redactor = Redactor(secrets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    stream = redactor.stream()
    shown = b"".join(stream.feed(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    assert shown + stream.close() == redactor.data(whole)


@given(SECRETS, PIECES, st.data())
def test_no_secret_is_left_in_what_is_shown(
    secrets: list[str], texts: list[str], data: st.DataObject
) -> None:
    pieces = [piece for text in texts for piece in (text, data.draw(st.sampled_from(["", *secrets])))]
    redactor = Redactor(secrets)
    shown = redactor.text("".join(pieces))
    assert [secret for secret in secrets if len(secret.strip()) >= 4 and secret.strip() in shown] == []


@given(st.text(), st.lists(st.text(min_size=4)))
def test_text_without_a_secret_stays_as_it_is(text: str, secrets: list[str]) -> None:
    redactor = Redactor(secrets)
    if not redactor.occurs_in(text.encode("utf-8", "surrogateescape")):
        assert redactor.text(text) == text
    assert Redactor().text(text) == text


@given(st.text(min_size=8, max_size=40).filter(lambda text: len(text.strip()) >= 8), st.binary(max_size=9))
def test_a_secret_within_a_base64_text_is_found_wherever_it_begins(secret: str, before: bytes) -> None:
    raw = secret.strip().encode()
    coded = base64.b64encode(before + raw + b":x").decode()
    sure = base64.b64encode(raw).decode()[2:-4]
    shown = Redactor([secret]).text(f"Authorization: Basic {coded}")
    assert shown != f"Authorization: Basic {coded}"
    assert len(before) % 3 or sure not in shown


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower().replace("s3cr3t%2fvalue", "s3cr3t%2fValue"),
        quote_plus(SECRET),
        json.dumps({"key": SECRET}),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"user:" + SECRET.encode()).decode(),
        SECRET.encode().hex(),
        f"https://user:{quote(SECRET, safe='')}@host/",
        repr({"key": SECRET}),
    ],
)
def test_encoded_forms_are_taken_out(form: str) -> None:
    shown = Redactor([SECRET]).text(f"before {form} after")
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "Value" not in shown


def test_every_line_of_a_key_is_taken_out() -> None:
    redactor = Redactor([KEY_FILE])
    body = KEY_FILE.splitlines()[1:3]
    for text in (
        KEY_FILE,
        KEY_FILE.replace("\n", "\r\n"),
        json.dumps({"key": KEY_FILE}),
        repr(KEY_FILE),
        "\n".join(f"    {line}" for line in KEY_FILE.splitlines()),
        f"at {body[1]}",
    ):
        shown = redactor.text(text)
        assert [line for line in body if line in shown] == [], text
    assert redactor.text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_the_parts_of_a_document_or_an_address_are_secret_too() -> None:
    redactor = Redactor(
        [
            '{"user": "scott", "password": "tiger-tiger"}',
            "postgresql://scott:p%40ssw0rd@db.example.com/sweeps",
        ]
    )
    shown = redactor.text("tiger-tiger p%40ssw0rd p@ssw0rd db.example.com")
    assert shown == "*** *** *** db.example.com"


def test_rows_are_redacted_to_their_depth() -> None:
    row = {"error": f"no {SECRET}", SECRET: [1, None, (SECRET, {"x": SECRET})], "n": 1.5}
    shown = Redactor([SECRET]).value(row)
    assert shown == {"error": "no ***", "***": [1, None, ["***", {"x": "***"}]], "n": 1.5}


def test_the_tail_is_cut_after_the_secret_is_out() -> None:
    text = "x" * 100 + SECRET + "y" * 10
    for length in range(5, 40):
        shown = Redactor([SECRET]).tail(text, length)
        assert len(shown) <= length
        assert "Value" not in shown
        assert "+42=" not in shown


def test_a_secret_that_a_shortened_message_breaks_off_is_taken_out_too() -> None:
    redactor = Redactor([SECRET, "hunter2222"])
    for length in range(4, len(SECRET)):
        told = redactor.text(f"exit code 1: no {SECRET[:length]}…")
        assert told == "exit code 1: no ***…"
        assert redactor.occurs_in(json.dumps({"error": f"{SECRET[:length]}…"}).encode())
    assert redactor.value({"error": "a hunter22…\nand…"}) == {"error": "a ***…\nand…"}


def test_bytes_that_may_begin_a_secret_wait_and_others_do_not() -> None:
    stream = Redactor(["hunter2222"]).stream()
    assert stream.feed(b"epoch 1 hunt") == b"epoch 1 "
    assert stream.feed(b"ing\n") == b"hunting\n"
    assert stream.feed(b"hunter222") == b""
    assert stream.close() == b"hunter222"


def test_what_is_not_utf_8_passes_through() -> None:
    redactor = Redactor(["hunter2222"])
    assert redactor.data(b"\xff\x00hunter2222\xfe") == b"\xff\x00***\xfe"
    assert Redactor(["a\udcffbcd"]).data(b"xa\xffbcdx") == b"x***x"
    assert Redactor(["hunter2222", "\ud800abcd"]).text("\ud800 hunter2222 \ud800abcd") == "\ud800 *** ***"


def test_a_value_too_short_is_told_of_and_left() -> None:
    assert Redactor(["abc", "abcd"]).too_short
    assert Redactor(["abc"]).text("abc") == "abc"
    assert "abcd" not in repr(Redactor(["abcd"]))


def test_a_log_of_long_lines_is_redacted_quickly() -> None:
    redactor = Redactor([f"{KEY_FILE}{n}" * 3 for n in range(10)])
    stream = redactor.stream()
    lines = 4000
    import time

    begun = time.process_time()
    for n in range(lines):
        stream.feed(b"epoch %d loss 0.123456 accuracy 0.98 and so on, a line as they are\n" % n)
    assert (time.process_time() - begun) / lines < 2e-3


def test_the_files_that_a_job_carries_are_whole_by_themselves() -> None:
    folder = Path(redact.__file__).parent
    for name in ("redact.py", "references.py"):
        code = f"import runpy; runpy.run_path({str(folder / name)!r})"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
