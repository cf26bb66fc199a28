"""A thousand requests made from the server's own description, good and bad: no 5xx, and nobody in."""

from __future__ import annotations

import json
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from besom.server.openapi import describe_server
from besom.server.tokens import Tokens
from besom.store import open_store
from besom.testing.servers import server_options, serving

CASES = 1000


def cases() -> st.SearchStrategy[Any]:
    """Give requests to every route, such as the description allows and such as it does not."""
    schema: Any = schemathesis.openapi.from_dict(describe_server())
    operations = [found.ok() for found in schema.get_all_operations()]
    return st.sampled_from(operations).flatmap(
        lambda operation: st.sampled_from(
            [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.body else [])]
        ).flatmap(lambda mode: operation.as_strategy(generation_mode=mode))
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_breaks_the_server_and_none_gets_in_without_a_token(tmp_path: Path) -> None:
    behind = open_store(f"sqlite:///{tmp_path / 'besom.db'}")
    statuses: Counter[int] = Counter()
    with serving(behind, server_options(tmp_path)) as url:
        port = int(url.rpartition(":")[2])
        token = Tokens(tmp_path / "tokens.json").create("admin", seconds=None)[1]
        connection = HTTPConnection("127.0.0.1", port, timeout=20)

        def ask(case: Any, token: str | None) -> tuple[int, bytes]:
            headers = {"Content-Type": "application/json"}
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            has_body = isinstance(case.body, (dict, list, str, int, float, bool, type(None)))
            body = json.dumps(case.body).encode() if has_body else b""
            connection.request(case.method, case.path, body if case.method == "POST" else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

        @given(case=cases())
        @settings(
            max_examples=CASES,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.filter_too_much,
                HealthCheck.data_too_large,
            ],
            database=None,
        )
        def send(case: Any) -> None:
            status, text = ask(case, token)
            statuses[status] += 1
            assert status < 500, (case.path, case.body, text)
            assert json.loads(text).keys() <= {"result", "error", "besom", "digest", "server", "openapi"} or (
                case.path == "/v1/openapi.json"
            )
            assert ask(case, None)[0] in (401, 429)

        try:
            send()
        finally:
            connection.close()
    behind.close()
    assert sum(statuses.values()) >= CASES
    assert statuses[200] > CASES / 20
    assert statuses[422] > CASES / 20
