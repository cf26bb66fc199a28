"""AWS's clients, and what they raise as errors that say what failed and what to do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from besom.errors import BesomError, NotFoundError, UsageError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

POLL_SECONDS = 20
"""How long SQS may keep a call waiting for a message, the longest there is."""

_ATTEMPTS = 5
_THROTTLED = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "OverLimit",
        "RequestThrottled",
        "ServerException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_STRANGERS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = ("AccessDenied", "UnauthorizedOperation")
_NO_QUEUE = ("QueueDoesNotExist", "NonExistentQueue")


class AwsError(BesomError):
    """AWS refuses, and asking again will not help; `code` is its own name for it, "" where it has none."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)


class AwsAwayError(BesomError):
    """AWS cannot be reached, or asks for patience; later it may answer."""

    exit_code = 4


def create_client(service: str, region: str | None = None) -> Any:
    """Give a boto3 client that tries a call again for some seconds; region None is the environment's.

    UsageError without boto3, and where no region is set.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import NoRegionError, ProfileNotFound
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed, and AWS needs it: pip install 'besom[aws]'"
        ) from error
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=5,
        read_timeout=2 * POLL_SECONDS,
        user_agent_extra="besom",
    )
    try:
        session: Any = boto3.Session()
        return session.client(service, region_name=region, config=config)
    except NoRegionError as error:
        raise UsageError("no AWS region is set; set AWS_DEFAULT_REGION, or give --region") from error
    except ProfileNotFound as error:
        raise UsageError(f"{error}; `aws configure list-profiles` lists those there are") from error
    except ValueError as error:  # AWS_ENDPOINT_URL is no address
        raise UsageError(f"AWS cannot be used: {error}") from error


@contextmanager
def explained(doing: str) -> Generator[None]:
    """Inside, what botocore raises becomes an error of besom's that begins with `doing`.

    AwsAwayError for what may pass, NotFoundError for a queue that is not there, AwsError for the rest.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
    from botocore.exceptions import ConnectionError as NoConnectionError

    try:
        yield
    except ClientError as error:
        raise _refused(doing, error) from error
    except (HTTPClientError, NoConnectionError) as error:
        raise AwsAwayError(f"{doing}: AWS cannot be reached: {error}") from error
    except ParamValidationError as error:
        raise AwsError(f"{doing}: {error}") from error
    except BotoCoreError as error:  # no credentials, or those of a single sign-on that has run out
        raise AwsError(
            f"{doing}: {error}; `aws configure` or `aws sso login` gives credentials", type(error).__name__
        ) from error


def _refused(doing: str, error: ClientError) -> BesomError:
    response: Any = error.response
    said = response.get("Error", {})
    code, message = str(said.get("Code", "")).rpartition(".")[2], str(said.get("Message", ""))
    if code in _THROTTLED:
        return AwsAwayError(f"{doing}: AWS asks for patience ({code}): {message}")
    if code in _STRANGERS:
        return AwsError(
            f"{doing}: AWS does not accept these credentials ({code}): {message};"
            " `aws sso login` or `aws configure` renews them",
            code,
        )
    if code.startswith(_DENIED):
        return AwsError(
            f"{doing}: not allowed ({code}): {message}; docs/aws.md lists what has to be allowed", code
        )
    if code in _NO_QUEUE:
        return NotFoundError(f"{doing}: there is no such queue in this account and region ({code})")
    return AwsError(f"{doing}: {code}: {message}", code)
