"""AWS as a sweep's driver uses it: a few calls, each within the rates that AWS documents.

botocore's adaptive retries slow down where AWS says so; a token bucket for each operation keeps a sweep of
many jobs from getting there. What fails for a while is a `NotNowError`: whoever called tries again later.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from besom.errors import BesomError, UsageError
from besom_sagemaker.s3 import split_s3

Why = Literal["quota", "throttled", "unreachable"]

RATES = {
    "create_training_job": (2.0, 10.0),
    "describe_training_job": (4.0, 10.0),
    "stop_training_job": (2.0, 10.0),
    "list_training_jobs": (0.5, 2.0),  # AWS allows an account 2 a second, which cannot be raised
}
"""Calls a second, and how many may be made at once after a pause."""

_ATTEMPTS = 10
_THROTTLED = frozenset(
    """
    ThrottlingException Throttling ThrottledException TooManyRequestsException RequestLimitExceeded
    RequestThrottled SlowDown ProvisionedThroughputExceededException ServiceUnavailable InternalFailure
    InternalServerError InternalError 503 500
    """.split()  # noqa: SIM905
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class NotNowError(BesomError):
    """AWS cannot do it now, but may later; `why` says in a word."""

    def __init__(self, why: Why, message: str) -> None:
        self.why = why
        super().__init__(message)


class RefusedError(BesomError):
    """AWS refuses, and asking again will not help."""


class Bucket:
    """A token bucket: `rate` calls a second, `burst` at once; the clock and the sleep are the caller's."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._burst = rate, burst
        self._clock, self._sleep = clock, sleep
        self._tokens, self._at = burst, clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a token, waiting until there is one."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
            self._at = now
            wait = -self._tokens / self._rate
        if wait > 0:
            self._sleep(wait)


@dataclass(frozen=True, slots=True)
class Found:
    """An object in S3, as a listing has it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class JobState:
    """A training job, as DescribeTrainingJob has it."""

    name: str
    status: str  # InProgress Completed Failed Stopping Stopped
    secondary: str
    reason: str  # FailureReason
    billable: int  # seconds
    training: int  # seconds; more than `billable` where spot training saved some
    instances: Mapping[str, int]  # how many of each type
    created: float = 0.0  # seconds since the epoch
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])  # last values, read from its log

    @property
    def ended(self) -> bool:
        """Say whether it runs no more."""
        return self.status in ("Completed", "Failed", "Stopped", "Deleting")


def instances_of(request: Mapping[str, Any]) -> dict[str, int]:
    """Give how many instances of each type a job has, by its request or its description."""
    resources = request.get("ResourceConfig", {})
    counts: Counter[str] = Counter()
    for group in resources.get("InstanceGroups") or [resources]:
        counts[group.get("InstanceType", "")] += int(group.get("InstanceCount") or 1)
    return dict(counts)


class Cloud:
    """The calls of one driver; usable from several threads."""

    def __init__(
        self,
        session: Any = None,
        *,
        region: str | None = None,
        rates: Mapping[str, tuple[float, float]] = RATES,
    ) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import NoRegionError

        config = Config(
            retries={"mode": "adaptive", "max_attempts": _ATTEMPTS},
            max_pool_connections=32,
            connect_timeout=10,  # a network that swallows packets must not hold up leases
            user_agent_extra="besom",
        )
        session = session or boto3.Session()
        try:
            self._sagemaker = session.client("sagemaker", config=config, region_name=region)
            self._s3 = session.client("s3", config=config, region_name=region)
        except NoRegionError as error:
            raise UsageError(
                "no AWS region is set; set AWS_DEFAULT_REGION, or give region=... (in a job file region: ...)"
            ) from error
        self._buckets = {name: Bucket(*rate) for name, rate in rates.items()}
        self.calls: Counter[str] = Counter()
        """How many calls of each operation were made."""

    # ---- training jobs

    def create(self, request: Mapping[str, Any]) -> bool:
        """Submit a job; says whether it is new, False when one of this name was submitted before.

        NotNowError when the quota is used up or AWS asks for patience, RefusedError when it will not have it.
        """
        code, message, _ = self._sage("create_training_job", **request)
        if code == "ResourceInUse":
            return False
        if code == "ResourceLimitExceeded":
            raise NotNowError("quota", message)
        if code:
            raise RefusedError(f"SageMaker refuses job {request['TrainingJobName']}: {code}: {message}")
        return True

    def describe(self, name: str) -> JobState | None:
        """Give a job's state, or None if there is no such job."""
        code, message, found = self._sage("describe_training_job", TrainingJobName=name)
        if code in ("ValidationException", "ResourceNotFound"):
            return None
        if code:
            raise RefusedError(f"job {name} cannot be looked up: {code}: {message}")
        return JobState(
            name,
            found["TrainingJobStatus"],
            found.get("SecondaryStatus", ""),
            found.get("FailureReason") or "",
            int(found.get("BillableTimeInSeconds") or 0),
            int(found.get("TrainingTimeInSeconds") or 0),
            instances_of(found),
            found["CreationTime"].timestamp(),
            {one["MetricName"]: one["Value"] for one in found.get("FinalMetricDataList", ())},
        )

    def stop(self, name: str) -> None:
        """Ask SageMaker to stop a job; one that has ended is no error."""
        code, message, _ = self._sage("stop_training_job", TrainingJobName=name)
        if code and code not in ("ValidationException", "ResourceNotFound"):
            raise RefusedError(f"job {name} cannot be stopped: {code}: {message}")

    def in_progress(self, contains: str) -> dict[str, str]:
        """Give the secondary status of the jobs in progress whose names contain a text, by name."""
        found: dict[str, str] = {}
        more: dict[str, str] = {}
        while True:
            code, message, page = self._sage(
                "list_training_jobs",
                NameContains=contains,
                StatusEquals="InProgress",
                MaxResults=100,
                **more,
            )
            if code:
                raise RefusedError(f"the jobs cannot be listed: {code}: {message}")
            for summary in page.get("TrainingJobSummaries", ()):
                found[summary["TrainingJobName"]] = summary.get("SecondaryStatus", "")
            if not page.get("NextToken"):
                return found
            more = {"NextToken": page["NextToken"]}

    # ---- S3

    def put(self, uri: str, data: bytes) -> None:
        """Write an object."""
        bucket, key = split_s3(uri)
        self._s3_call("put_object", Bucket=bucket, Key=key, Body=data)

    def get(self, uri: str) -> bytes | None:
        """Give an object, or None if it is not there."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        bucket, key = split_s3(uri)
        try:
            answer = self._s3_call("get_object", Bucket=bucket, Key=key)
            return None if answer is None else answer["Body"].read()
        except (OSError, HTTPClientError, IncompleteReadError) as error:
            raise NotNowError("unreachable", f"{uri}: {error}") from error

    def exists(self, uri: str) -> bool:
        """Say whether an object is there."""
        bucket, key = split_s3(uri)
        return self._s3_call("head_object", Bucket=bucket, Key=key) is not None

    def find(self, prefix: str, *, after: str = "") -> Iterator[Found]:
        """Give what lies below an S3 prefix behind the key `prefix + after`, in the order of keys.

        Keys are given relative to the prefix.
        """
        bucket, start = split_s3(prefix)
        more: dict[str, str] = {"StartAfter": start + after} if after else {}
        while True:
            page = self._s3_call("list_objects_v2", Bucket=bucket, Prefix=start, **more) or {}
            for one in page.get("Contents", ()):
                yield Found(one["Key"][len(start) :], one["Size"], one["ETag"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    # ---- inside

    def _sage(self, operation: str, **arguments: Any) -> tuple[str, str, dict[str, Any]]:
        if (bucket := self._buckets.get(operation)) is not None:
            bucket.take()
        return self._call(self._sagemaker, operation, arguments)

    def _s3_call(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        code, message, answer = self._call(self._s3, operation, arguments)
        if code in _MISSING:
            return None
        if code:
            where = f"s3://{arguments['Bucket']}/{arguments.get('Key', arguments.get('Prefix', ''))}"
            raise RefusedError(f"{where}: {code}: {message}")
        return answer

    def _call(
        self, client: Any, operation: str, arguments: Mapping[str, Any]
    ) -> tuple[str, str, dict[str, Any]]:
        """Make a call; gives the error's code ("" when there is none), its message, and the answer."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
        from botocore.exceptions import ConnectionError as NoConnectionError

        self.calls[operation] += 1
        try:
            return "", "", getattr(client, operation)(**arguments)
        except ClientError as error:
            response: Any = error.response
            said: dict[str, Any] = dict(response.get("Error", {}))
            code, message = str(said.get("Code", "")), str(said.get("Message", ""))
        except (HTTPClientError, NoConnectionError) as error:
            raise NotNowError("unreachable", f"AWS cannot be reached: {error}") from error
        except ParamValidationError as error:
            raise RefusedError(f"{operation}: {error}") from error
        except BotoCoreError as error:  # no credentials, or those of a single sign-on that has run out
            raise RefusedError(
                f"{operation}: {error}; `aws configure` or `aws sso login` gives credentials"
            ) from error
        if code in _THROTTLED:
            raise NotNowError("throttled", f"{operation}: {code}: {message}")
        if code in _DENIED:
            raise RefusedError(
                f"{operation}: {code}: {message}; `besom sagemaker iam-policy` prints what is needed"
            )
        return code, message, {}
