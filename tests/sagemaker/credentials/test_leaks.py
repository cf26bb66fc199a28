from __future__ import annotations

import base64
import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from besom_sagemaker.leaks import (
    CHUNK,
    LeakError,
    refuse_leaks,
    scan_bytes,
    scan_files,
    scan_folder,
    scan_mapping,
)
from besom_sagemaker.redact import Redactor

# Put together here, so that no scanner of this repository takes them for real ones.
HEX = "0123456789abcdef" * 3
PLANTED = {
    "settings.py": ("AWS_KEY = '" + "AKIA" + "ABCDEFGHIJKLMNOP" + "'", "an AWS access key id"),
    "session.txt": ("ASIA" + "QRSTUVWXYZ234567", "an AWS access key id"),
    "aws.ini": (
        "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
        "secret access key",
    ),
    "hub.py": ("login(token='" + "hf_" + "abcDEF" * 6 + "')", "a Hugging Face token"),
    "log.py": ("import wandb\nwandb.login(key='" + HEX[:40] + "')", "a W&B API key"),
    "log2.py": ("key = '" + "wandb" + "_v1_" + "A1b2C3d4" * 6 + "'", "a W&B API key"),
    "gh.sh": ("git clone https://" + "ghp_" + "a1B2" * 9 + "@github.com/x/y", "a GitHub token"),
    "pat.txt": ("github" + "_pat_" + "11ABCDEFG0" * 4, "a GitHub token"),
    "slack.py": ("xox" + "b-123456789012-abcdefghijkl", "a Slack token"),
    "llm.py": ("OPENAI = 'sk" + "-proj-" + "a1B2c3D4" * 5 + "'", "an API key"),
    "maps.js": ("key=AI" + "za" + "SyA1234567890abcdefghijklmnopqrstuv", "a Google API key"),
    "deploy.txt": ("-----BEGIN OPENSSH PRIVATE" + " KEY-----\nb3BlbnNzaC1rZXk\n", "a private key"),
    "store.yaml": ("dsn: postgresql://" + "sweeper:hunter22@db:5432/sweeps", "an address with a password"),
    "cache.toml": ("url = 'redis://" + ":hunter22@cache:6379'", "an address with a password"),
    ".env": ("A=1", "a file of environment variables"),
    "conf/.env.production": ("A=1", "a file of environment variables"),
    "secrets.env": ("WANDB_API_KEY=x", "a file of credentials"),
    "certs/server.pem": ("", "a key file"),
    ".ssh/id_ed25519": ("", "a private key"),
    ".netrc": ("machine x", "a file of passwords"),
    ".aws/credentials": ("[default]", "AWS credentials"),
    ".pypirc": ("", "a file of passwords"),
    ".git-credentials": ("", "a file of passwords"),
    ".docker/config.json": ("{}", "registry credentials"),
}
KNOWN = ["correct horse battery", "p@ss/word+1", "multi\nline-secret-value", "Zm9vYmFy-token"]
HIDDEN = {
    "known.txt": KNOWN[0],
    "known_url.txt": "https://host/?k=p%40ss%2Fword%2B1",
    "known_json.json": '{"k": "multi\\nline-secret-value"}',
    "known_b64.txt": base64.b64encode(b"user:" + KNOWN[0].encode()).decode(),
    "known_hex.bin": KNOWN[3].encode().hex(),
    "known_crlf.txt": "multi\r\nline-secret-value",
}


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A source folder with thirty secrets in it."""
    files = {**{name: text for name, (text, _) in PLANTED.items()}, **HIDDEN}
    assert len(files) == 30
    for name, text in files.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"# a line before\n{text}\n".encode())
    (tmp_path / "src" / "train.py").write_text("import torch\nlr = 0.1  # wandb\n")
    return tmp_path / "src"


def test_each_of_thirty_planted_secrets_is_found_and_none_is_shown(planted: Path) -> None:
    leaks = list(scan_folder(planted, known=KNOWN))
    found = {Path(leak.where).relative_to(planted).as_posix(): leak for leak in leaks}
    assert set(found) == {*PLANTED, *HIDDEN}
    for name, (_, kind) in PLANTED.items():
        kinds = [leak.kind for leak in leaks if leak.where == (planted / name).as_posix()]
        assert any(kind in one for one in kinds), (name, kinds)
    with pytest.raises(LeakError) as error:
        refuse_leaks(leaks)
    shown = str(error.value) + "".join(map(str, leaks)) + repr(leaks)
    texts = [*KNOWN, *HIDDEN.values(), "hunter22", HEX[:40], "AKIA" + "ABCD", "hf_" + "abc", "wJalr", "b3Blb"]
    assert [text for text in texts if text in shown] == []


def test_a_find_has_its_line(planted: Path) -> None:
    lines = {Path(leak.where).name: leak.line for leak in scan_folder(planted, known=KNOWN) if leak.line}
    assert (lines["settings.py"], lines["log.py"], lines["known.txt"]) == (2, 3, 2)
    assert f"{planted}/settings.py:2: an AWS access key id" in [str(leak) for leak in scan_folder(planted)]


def test_ordinary_code_is_no_find(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text("WANDB_API_KEY=\n")
    (tmp_path / "train.py").write_text(
        "url = f'postgresql://{user}:{password}@{host}/db'\n"
        "doc = 'postgresql://user:password@localhost/db and s3://bucket/key, http://host:80/a@b'\n"
        "os.environ['AWS_SECRET_ACCESS_KEY']; sha = '" + HEX[:40] + "'\n"
        "dsn = 'mysql://$USER:$PASS@db/x'\nremote = 'git@github.com:a/b.git'\n"
    )
    (tmp_path / "requirements.txt").write_text("torch==2.1 --hash=sha256:" + HEX + HEX[:16] + "\n")
    assert list(scan_folder(tmp_path)) == []


def test_this_projects_own_code_is_no_find() -> None:
    import besom
    import besom_sagemaker

    for package in (besom, besom_sagemaker):
        assert list(scan_folder(Path(str(package.__file__)).parent)) == []


def test_finds_that_are_none_are_allowed_by_path(planted: Path) -> None:
    allow = ["*.pem", ".ssh/*", "settings.py"]
    places = {Path(leak.where).name for leak in scan_folder(planted, allow=allow)}
    assert not {"server.pem", "id_ed25519", "settings.py"} & places
    assert "hub.py" in places


def test_archives_are_looked_into(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as wheel:
        wheel.writestr("pkg/settings.py", PLANTED["settings.py"][0])
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as bundle:
        for name, data in (
            ("a/.env", b"A=1"),
            ("wheels/x.whl", inner.getvalue()),
            ("b.txt", KNOWN[0].encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            bundle.addfile(member, io.BytesIO(data))
    (tmp_path / "data.gz").write_bytes(gzip.compress(b"numbers"))
    (tmp_path / "broken.zip").write_bytes(inner.getvalue()[:40] + inner.getvalue()[60:])
    leaks = [str(leak).removeprefix(f"{tmp_path}/") for leak in scan_folder(tmp_path, known=KNOWN)]
    assert "bundle.tar.gz!a/.env: a file of environment variables" in leaks
    assert "bundle.tar.gz!wheels/x.whl!pkg/settings.py:1: an AWS access key id" in leaks
    assert "bundle.tar.gz!b.txt:1: the value of one of the secrets" in leaks
    assert any(leak.startswith("broken.zip: an archive that cannot be looked into") for leak in leaks)
    data = (tmp_path / "bundle.tar.gz").read_bytes()
    assert {leak.where for leak in scan_bytes("upload", data, known=KNOWN)} == {
        "upload!a/.env",
        "upload!b.txt",
        "upload!wheels/x.whl",  # its files are not compressed
        "upload!wheels/x.whl!pkg/settings.py",
    }


def test_nothing_hides_between_two_pieces_of_a_large_file(tmp_path: Path) -> None:
    secret = PLANTED["settings.py"][0].encode()
    for shift in (0, 10, len(secret)):
        start = CHUNK - shift
        (tmp_path / "big.bin").write_bytes(b"\n" * start + secret + b"\0" * CHUNK)
        [leak] = scan_folder(tmp_path)
        assert leak.line == start + 1


def test_links_are_followed_and_what_cannot_be_read_is_a_find(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "key.txt").write_text(PLANTED["settings.py"][0])
    source = tmp_path / "src"
    source.mkdir()
    (source / "link").symlink_to(tmp_path / "outside")
    (source / "again").symlink_to(source)
    (source / "dangling").symlink_to(tmp_path / "nowhere")
    leaks = [str(leak).removeprefix(f"{source}/") for leak in scan_folder(source)]
    assert leaks == [
        "dangling: cannot be looked into (No such file or directory)",
        "link/key.txt:1: an AWS access key id",
    ]
    assert next(scan_files(source, ["link/key.txt"])).kind == "an AWS access key id"


def test_requests_are_looked_through() -> None:
    request: dict[str, Any] = {
        "HyperParameters": {"lr": "0.1", "wandb_api_key": HEX[:40]},
        "Environment": {"DSN": "postgresql://" + "u:hunter22@h/db", "OK": "secretsmanager:team/keys#hf"},
        "Tags": [{"Key": "k", "Value": KNOWN[0]}],
        "ResourceConfig": {"InstanceCount": 1},
    }
    leaks = [str(leak) for leak in scan_mapping("request", request, known=KNOWN)]
    assert leaks == [
        "request[HyperParameters][wandb_api_key]: a W&B API key",
        "request[Environment][DSN]: an address with a password",
        "request[Tags][0][Value]: the value of one of the secrets",
    ]
    with pytest.raises(LeakError, match="nothing was uploaded") as error:
        refuse_leaks(scan_mapping("request", request, known=KNOWN))
    assert error.value.exit_code == 2
    assert "hunter22" not in str(error.value)
    assert list(scan_mapping("x", request, known=KNOWN, allow=["*wandb*", "*DSN*", "*Tags*"])) == []


def test_a_log_that_prints_every_planted_secret_shows_none(planted: Path) -> None:
    values = [*KNOWN, *(text for text, _ in PLANTED.values() if len(text) > 12)]
    redactor = Redactor(values)
    log = "\n".join(f"{os.getpid()} step {n}: {value!r} {value}" for n, value in enumerate(values)).encode()
    stream = redactor.stream()
    shown = b"".join(stream.feed(log[n : n + 7]) for n in range(0, len(log), 7)) + stream.close()
    failure = redactor.tail(f"Traceback\nValueError: {' '.join(values)}", 1024)
    row = redactor.value({"error": log.decode(), "summary": {value: value for value in values}})
    for value in values:
        assert value.encode() not in shown
        assert value not in failure
        assert value not in str(row)
