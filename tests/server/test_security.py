"""Nobody gets in who should not, and nothing that is sent breaks the server."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from besom.cli import cli
from besom.errors import StoreError, UsageError
from besom.server.gate import route_table
from besom.server.listen import Listening, bind
from besom.server.tokens import Tokens
from besom.store import open_store
from besom.store.http.operations import SCOPES, TABLE, Scope
from besom.testing.servers import ServerProcess, server_options, serving

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


@dataclass
class Door:
    """A running server and words to knock with."""

    folder: Path
    port: int
    tokens: Tokens

    def token(self, scope: Scope = "admin", seconds: float | None = None) -> str:
        return self.tokens.create(scope, seconds=seconds)[1]

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: bytes | None = None,
        **headers: str,
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        finally:
            connection.close()

    @property
    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    with serving(behind, server_options(tmp_path, body_bytes=100_000)) as url:
        yield Door(tmp_path, int(url.rpartition(":")[2]), Tokens(tmp_path / "tokens.json"))
    behind.close()


def test_every_route_and_method_lets_in_exactly_the_scopes_of_the_table(door: Door) -> None:
    tokens: dict[Scope | None, str | None] = {None: None, **{scope: door.token(scope) for scope in SCOPES}}
    table = route_table()
    for path in (
        *table,
        "/",
        "/v1/",
        "/v2/claim",
        "/v1/claim/",
        "/v1/close",
        "/v1/url",
        "/docs",
        "/v1/../v1/claim",
    ):
        for method in METHODS:
            for scope, token in tokens.items():
                status, _ = door.ask(method, path, token, b"{" if method == "POST" else None)
                needed = table.get(path, {}).get(method)
                if scope is None:
                    assert status in (401, 429), (path, method)
                elif path not in table:
                    assert status == 404, (path, method, scope)
                elif needed is None:
                    assert status == 405, (path, method, scope)
                elif SCOPES.index(scope) < SCOPES.index(needed):
                    assert status == 403, (path, method, scope)
                else:
                    assert status == (400 if method == "POST" else 200), (path, method, scope)


def test_an_agent_s_token_can_neither_make_nor_change_a_sweep() -> None:
    for name in ("create_sweep", "amend_sweep", "set_sweep_state", "enqueue", "delete_run", "retry"):
        assert TABLE[name] == "admin"
    changing = {name for name, scope in TABLE.items() if scope != "read"}
    assert not changing & {name for name in TABLE if name.startswith(("get_", "list_"))}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "besom_",
        "besom__",
        "besom_00000000_x",
        "besom_x_y_z",
        "Bearer",
        "ü".encode().decode("latin-1"),
    ],
)
def test_what_is_no_token_is_refused(door: Door, text: str) -> None:
    door.token()
    assert door.ask("GET", "/v1", text)[0] == 401


def test_a_token_with_another_secret_is_refused(door: Door) -> None:
    token = door.token()
    assert door.ask("GET", "/v1", token)[0] == 200
    assert door.ask("GET", "/v1", token[:-1] + ("a" if token[-1] != "a" else "b"))[0] == 401


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    now = 1000.0
    tokens = Tokens(tmp_path / "tokens.json", clock=lambda: now)
    _, text = tokens.create("read", seconds=60)
    now = 1059.0
    assert tokens.check(text) is not None
    now = 1060.0
    assert tokens.check(text) is None


def test_an_expired_and_a_revoked_token_do_not_get_in(door: Door) -> None:
    assert door.ask("GET", "/v1", door.token(seconds=0))[0] == 401
    made, text = door.tokens.create("read", seconds=None)
    assert door.ask("GET", "/v1", text)[0] == 200
    door.tokens.revoke(made.id)
    assert door.ask("GET", "/v1", text)[0] == 401


def test_the_file_of_tokens_holds_no_token_and_is_its_owner_s(door: Door) -> None:
    text = door.token()
    assert text.split("_", 2)[2] not in door.tokens.path.read_text()
    assert door.tokens.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example:80", "[::1"]
)
def test_a_host_that_was_rebound_is_refused(door: Door, host: str) -> None:
    assert door.ask("GET", "/v1", door.token(), Host=host)[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8700"])
def test_the_server_s_own_names_are_answered_to(door: Door, host: str) -> None:
    assert door.ask("GET", "/v1", door.token(), Host=host)[0] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"sweep_id": NaN}', 400),
        (b"[" * 50_000, 400),
        (b'{"sweep_id": ' + b"9" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"sweep_id": 1}', 422),
        (b'{"sweep_id": "x", "more": 1}', 422),
        (b'{"sweep_id": "\\ud800"}', 422),
        (b'{"sweep_id": "x"}', 404),
        (b'{"sweep_id": "' + b"x" * 100_000 + b'"}', 413),
    ],
)
def test_a_body_that_is_wrong_is_said_to_be(door: Door, body: bytes, status: int) -> None:
    found, answer = door.ask("POST", "/v1/get_sweep", door.token("read"), body)
    assert found == status
    assert answer["error"]["message"]


def test_a_body_that_unpacks_to_too_much_is_refused(door: Door) -> None:
    token = door.token("read")
    bomb = gzip.compress(b'{"sweep_id": "' + b"x" * 50_000_000 + b'"}')
    assert len(bomb) < 100_000
    assert door.ask("POST", "/v1/get_sweep", token, bomb, Content_Encoding="gzip")[0] == 413
    good = gzip.compress(b'{"sweep_id": "x"}')
    assert door.ask("POST", "/v1/get_sweep", token, good, Content_Encoding="gzip")[0] == 404
    for broken in (b"no gzip", good[:-9]):
        assert door.ask("POST", "/v1/get_sweep", token, broken, Content_Encoding="gzip")[0] == 400
    assert door.ask("POST", "/v1/get_sweep", token, good, Content_Encoding="br")[0] == 415


def test_a_form_that_a_browser_sends_is_refused(door: Door) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert door.ask("POST", "/v1/list_sweeps", door.token(), b"{}", Content_Type=kind)[0] == 415


def test_a_token_that_asks_too_often_must_wait_and_others_need_not(tmp_path: Path) -> None:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    with serving(behind, server_options(tmp_path, per_second=1)) as url:
        door = Door(tmp_path, int(url.rpartition(":")[2]), Tokens(tmp_path / "tokens.json"))
        token = door.token()
        assert 429 in [door.ask("GET", "/v1", token)[0] for _ in range(10)]
        assert door.ask("GET", "/v1", door.token())[0] == 200
    behind.close()


def test_who_guesses_tokens_is_slowed_and_does_not_lock_others_out(door: Door) -> None:
    statuses = {door.ask("GET", "/v1", "guess")[0] for _ in range(60)}
    assert statuses == {401, 429}
    assert door.ask("GET", "/v1", door.token())[0] == 200


def test_changes_and_refusals_are_in_the_audit_log_and_tokens_are_not(door: Door) -> None:
    made, text = door.tokens.create("admin", seconds=None)
    door.ask("POST", "/v1/retry", text, b'{"run_id": "x"}')
    door.ask("GET", "/v1", "guess_me_please")
    [change, refusal] = door.audited
    assert (change["operation"], change["status"], change["token"]) == ("retry", 404, made.id)
    assert (refusal["refused"], refusal["token"], refusal["path"]) == (401, None, "GET /v1")
    log = (door.folder / "audit.jsonl").read_text()
    assert text.split("_", 2)[2] not in log
    assert "guess_me" not in log


def test_the_real_socket_listens_on_this_machine_alone(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, f"sqlite:///{tmp_path / 'besom.db'}")
    server.start()
    try:
        mine = {
            str(link.readlink()).strip("socket:[]")
            for link in Path(f"/proc/{server.pid}/fd").iterdir()
            if str(link.readlink()).startswith("socket:")
        }
        listening = [
            words[1]
            for table in ("tcp", "tcp6")
            for words in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
            if words[3] == "0A" and words[9] in mine
        ]
        assert listening == [f"0100007F:{server.port:04X}"]
    finally:
        server.kill()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_tokens_do_not_travel_in_the_clear_unless_told(host: str) -> None:
    with pytest.raises(UsageError, match="--tls-certificate"):
        bind(Listening(host, 0))
    if host == "0.0.0.0":
        bind(Listening(host, 0, plain=True)).close()


def test_answers_do_not_wait_for_more_to_send(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BESOM_TOKEN", door.token())
    store = open_store(f"http://127.0.0.1:{door.port}")
    spent: list[float] = []
    for _ in range(50):
        begun = time.perf_counter()
        store.list_sweeps()
        spent.append(time.perf_counter() - begun)
    store.close()
    assert sorted(spent)[10] < 0.03  # a delayed acknowledgment takes 0.04


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="cannot be listened on"):
            bind(Listening(port=other.getsockname()[1]))


# ---- the other end


def test_a_client_without_a_token_is_told_where_tokens_come_from(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BESOM_TOKEN", "BESOM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://127.0.0.1:{door.port}"
    with pytest.raises(UsageError, match="besom token create"):
        open_store(url)
    monkeypatch.setenv("BESOM_TOKEN", "besom_no_token")
    with pytest.raises(StoreError, match="unknown, expired or revoked"):
        open_store(url)


def test_a_token_that_was_renewed_in_its_file_is_taken_up(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = door.folder / "token"
    made, text = door.tokens.create("read", seconds=None)
    file.write_text(text + "\n")
    monkeypatch.delenv("BESOM_TOKEN", raising=False)
    monkeypatch.setenv("BESOM_TOKEN_FILE", str(file))
    store = open_store(f"http://127.0.0.1:{door.port}")
    file.write_text(door.token("read"))
    door.tokens.revoke(made.id)
    assert store.list_sweeps() == []
    with pytest.raises(UsageError, match="scope agent"):
        store.reap("x")
    store.close()


@pytest.mark.parametrize("url", ["http://", "http://me:secret@host", "http://h?token=secret", "http://h:x/"])
def test_an_address_that_is_none_is_a_usage_error_and_shows_no_secret(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_the_commands_make_list_and_revoke_tokens(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.json")
    made = CliRunner().invoke(
        cli, ["token", "create", "--scope", "agent", "--note", "node 7", "--tokens", file]
    )
    assert made.exit_code == 0
    text = made.stdout.strip()
    token = Tokens(Path(file)).check(text)
    assert token is not None
    assert token.expires is not None
    listed = CliRunner().invoke(cli, ["token", "ls", "--tokens", file]).stdout
    assert token.id in listed
    assert "node 7" in listed
    assert text not in listed
    assert CliRunner().invoke(cli, ["token", "revoke", token.id, "--tokens", file]).exit_code == 0
    assert Tokens(Path(file)).check(text) is None
    assert CliRunner().invoke(cli, ["token", "revoke", token.id, "--tokens", file]).exit_code == 3
