"""What the client makes of answers as servers, and proxies in front of them, write them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

from besom.errors import StoreError
from besom.store.http.connections import Connections, Reply, parse_address


@contextmanager
def answering(*answers: bytes) -> Generator[Connections]:
    """Give connections to a server that gives these answers, one for each request of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            near, _ = listener.accept()
            with near, suppress(OSError):
                for answer in answers:
                    while not near.recv(65536).endswith(b"\r\n\r\n"):
                        pass
                    near.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        connections = Connections(parse_address(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        try:
            yield connections
        finally:
            connections.close()
            thread.join()


def ask(connections: Connections) -> Reply:
    return connections.request("GET", "/v1", None, {}, again={})


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-More:  a: b \r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-More: a: b\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\nConnection: close\r\nX-MORE:a: b\r\n\r\nhi",
        b"HTTP/1.0 200 OK\nx-more: a: b\n\nhi",
    ],
)
def test_an_answer_is_read_however_its_end_is_told(answer: bytes) -> None:
    with answering(answer) as connections:
        reply = ask(connections)
    assert (reply.status, reply.body, reply.headers["x-more"]) == (200, b"hi", "a: b")


def test_a_connection_is_kept_unless_the_server_closes_it() -> None:
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d"
    closed = b"HTTP/1.1 404 No\r\nContent-Length: 1\r\nConnection: close\r\n\r\n2"
    with answering(kept % 0, kept % 1, closed) as connections:
        assert [ask(connections).body for _ in range(3)] == [b"0", b"1", b"2"]
        assert connections._idle == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 okay\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_a_store_error(answer: bytes) -> None:
    with answering(answer) as connections, pytest.raises(StoreError, match="is the server there"):
        ask(connections)
