"""The cluster's dashboard: its address, its client, and what Ray raises as errors that say what to do."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from besom.errors import BesomError, UsageError
from besom.store.address import hide_password

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"

_SECONDS = 10.0  # until a dashboard that does not answer is taken for one that is not there
_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_NODES = 10_000  # more than Ray itself supports


class RayRefusedError(BesomError):
    """The cluster refuses, and asking again will not help."""


class RayAwayError(BesomError):
    """The cluster cannot be reached; later it may answer."""

    exit_code = 4


def find_address(given: str | None, environment: Mapping[str, str]) -> str:
    """Give the address of the dashboard: the one given, else the environment's, else this machine's.

    UsageError for an address that is not a dashboard's, such as `ray://…`.
    """
    named = {"--address": given, **{name: environment.get(name) for name in _VARIABLES}}
    source, address = next(((name, url) for name, url in named.items() if url), ("", DEFAULT_ADDRESS))
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        _ = parts.port  # read only now
    except ValueError as error:
        raise UsageError(f"{source} is no address ({error}); write --address http://HOST:8265") from error
    if parts.scheme in {"http", "https"} and parts.hostname:
        return address.rstrip("/")
    host = parts.hostname if parts.hostname not in {None, "auto", "local"} else "127.0.0.1"
    raise UsageError(
        f"{source} {hide_password(address)} is not where jobs are submitted; name the dashboard of the"
        f" cluster: --address http://{host}:8265"
    )


def connect(address: str) -> JobSubmissionClient:
    """Give a client of the dashboard at `address`.

    UsageError without Ray, RayAwayError when nothing answers, RayRefusedError when it wants another token.
    """
    try:
        import requests
        from ray.job_submission import JobSubmissionClient
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed, and Ray needs it: pip install 'besom[ray]'"
        ) from error
    headers = _headers(os.environ)
    with explained(address), only_address(address):
        # Ray's client would wait for ever.
        if (
            requests.get(f"{address}/api/version", timeout=_SECONDS, headers=headers).status_code
            == HTTPStatus.NOT_FOUND
        ):
            raise UsageError(
                f"what answers at {hide_password(address)} is no Ray dashboard; write --address http://HOST:8265"
            )
        return JobSubmissionClient(address, headers=headers)


def other_nodes(address: str) -> list[str]:
    """Give the addresses of the cluster's nodes that are not this machine."""
    from ray.util.state import list_nodes

    with explained(address), only_address(address):
        # All of them: where some are lost, Ray takes its own filter for live ones to have lost data.
        nodes: list[Any] = list_nodes(address, limit=_NODES, timeout=int(_SECONDS))
    alive = [str(node.node_ip) for node in nodes if node.state == "ALIVE"]
    return sorted(ip for ip in alive if not _is_here(ip))


@contextmanager
def only_address(address: str) -> Generator[None]:
    """Inside, Ray's clients use this address; else the environment's would count more than the one given."""
    name = _VARIABLES[0]
    before = os.environ.get(name)
    os.environ[name] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def explained(address: str) -> Generator[None]:
    """Inside, what Ray's client raises becomes an error of besom's, in one line.

    RayAwayError for what may pass, UsageError for what Ray's client cannot take, else RayRefusedError.
    """
    from ray.exceptions import AuthenticationError
    from ray.util.state.exception import RayStateApiException, ServerUnavailable
    from requests.exceptions import InvalidURL, RequestException

    shown = hide_password(address)
    try:
        yield
    except AuthenticationError as error:
        raise RayRefusedError(
            f"the Ray cluster at {shown} wants its token ({_first_line(error)}); set RAY_AUTH_MODE=token, and"
            " RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"
        ) from error
    except InvalidURL as error:
        raise UsageError(f"{error}; write --address http://HOST:8265") from error
    except (ConnectionError, RequestException, ServerUnavailable) as error:
        raise RayAwayError(
            f"no Ray cluster answers at {shown}; `ray start --head` starts one on this machine, --address"
            " names the dashboard of another"
        ) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"Ray does not take this job: {_first_line(error)}") from error
    except (RuntimeError, RayStateApiException) as error:
        raise RayRefusedError(f"the Ray cluster at {shown}: {_last_line(error)}") from error


def _headers(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Give what a proxy before the dashboard wants to see, from the variable that Ray's own commands read."""
    words = environment.get("RAY_JOB_HEADERS")
    if not words:
        return None
    with suppress(ValueError):
        read: Any = json.loads(words)
        if isinstance(read, dict):
            return cast("dict[str, Any]", read)
    raise UsageError('RAY_JOB_HEADERS is no JSON object, such as {"NAME": "VALUE"}')


def _is_here(ip: str) -> bool:
    """Say whether an address is one of this machine's: it alone can bind to it."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _last_line(error: Exception) -> str:
    """Give the line of a server's traceback that says what is wrong."""
    return str(error).strip().rpartition("\n")[2]
