"""An SQS queue: messages are sent to it, taken from it, kept, done with, or given back."""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from besom.errors import BesomError, UsageError
from besom_aws.aws import POLL_SECONDS, AwsAwayError, AwsError, create_client, explained

log = logging.getLogger(__name__)

BATCH = 10  # messages of a call, the most there may be
_TRIES = 5
_ADDRESS = re.compile(r"https?://[^/\s]+/(?P<account>\d+/)?(?P<name>[\w-]+(\.fifo)?)")
_REGIONS = (
    re.compile(r"https?://sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"),
    re.compile(r"https?://(?P<region>[a-z0-9-]+)\.queue\.amazonaws\.com(\.cn)?/"),
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that is this agent's for now; `times` is how often it was handed out, this time included."""

    id: str
    body: str
    receipt: str
    times: int


class Queue:
    """The SQS queue at a URL, in the region that the URL names."""

    def __init__(self, url: str) -> None:
        if _ADDRESS.fullmatch(url) is None:
            raise UsageError(
                f"{url!r} is no SQS queue; its address looks like"
                " https://sqs.REGION.amazonaws.com/ACCOUNT/NAME (`aws sqs list-queues` prints them)"
            )
        found = next((match for pattern in _REGIONS if (match := pattern.match(url))), None)
        self.url = url
        self._fair = url.endswith(".fifo")
        self._client = create_client("sqs", found["region"] if found else None)

    def send(self, bodies: Sequence[str]) -> list[str]:
        """Send messages, ten at a time, and give their ids; what SQS could not take is sent again.

        AwsError or AwsAwayError says how many were sent before it failed.
        """
        sent: dict[int, str] = {}
        for start in range(0, len(bodies), BATCH):
            entries = {
                index: self._entry(index, body)
                for index, body in enumerate(bodies[start : start + BATCH], start)
            }
            try:
                self._send_all(entries, sent)
            except (AwsError, AwsAwayError) as error:
                message = f"{error} ({len(sent)} of {len(bodies)} messages were sent)"
                raise (
                    AwsAwayError(message)
                    if isinstance(error, AwsAwayError)
                    else AwsError(message, error.code)
                ) from error
        return [sent[index] for index in sorted(sent)]

    def _entry(self, index: int, body: str) -> dict[str, str]:
        entry = {"Id": str(index), "MessageBody": body}
        if self._fair:  # a group of its own: one group for all would have them taken one after another
            unique = uuid.uuid4().hex
            entry |= {"MessageGroupId": unique, "MessageDeduplicationId": unique}
        return entry

    def _send_all(self, entries: dict[int, dict[str, str]], sent: dict[int, str]) -> None:
        """Send a batch, again for those that failed through no fault of theirs."""
        failed: Sequence[Any] = ()
        for attempt in range(_TRIES):
            left = [entry for index, entry in entries.items() if index not in sent]
            if not left:
                return
            if attempt:
                time.sleep(0.1 * 2**attempt)
            with explained(f"sending to {self.url}"):
                answer = self._client.send_message_batch(QueueUrl=self.url, Entries=left)
            sent |= {int(one["Id"]): str(one["MessageId"]) for one in answer.get("Successful", ())}
            failed = answer.get("Failed", ())
            if wrong := [one for one in failed if one.get("SenderFault")]:
                code, message = wrong[0].get("Code", ""), wrong[0].get("Message", "")
                raise AwsError(f"sending to {self.url}: {code}: {message}", code)
        if failed:
            code, message = failed[0].get("Code", ""), failed[0].get("Message", "")
            raise AwsAwayError(f"sending to {self.url}: {code}: {message}, {_TRIES} times")

    def receive(self, *, wait: int, hidden: int) -> Received | None:
        """Take a message, waiting `wait` seconds for one; nobody else sees it for `hidden` seconds."""
        with explained(f"receiving from {self.url}"):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=max(0, min(POLL_SECONDS, wait)),
                VisibilityTimeout=hidden,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        for message in answer.get("Messages", ()):
            times = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            return Received(
                message["MessageId"], str(message.get("Body", "")), message["ReceiptHandle"], times
            )
        return None

    def hide(self, message: Received, seconds: int) -> None:
        """Let nobody else see the message for so long from now; 0 hands it to whoever asks next."""
        with explained(f"keeping message {message.id}"):
            self._client.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )

    def delete(self, message: Received) -> None:
        """Be done with the message."""
        with explained(f"deleting message {message.id}"):
            self._client.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)


@contextmanager
def kept(queue: Queue, message: Received, hidden: int) -> Generator[None]:
    """Inside, the message stays hidden from others; a process that dies loses it within `hidden` seconds.

    SQS keeps a message for 12 hours at most. Then another agent gets it too, which does no harm.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(hidden / 3):
            try:
                queue.hide(message, hidden)
            except AwsAwayError as error:  # noqa: PERF203 - the next beat may do it
                log.warning("%s", error)
            except BesomError as error:
                log.warning("%s; another agent may get the message too, which does no harm", error)
                return

    thread = threading.Thread(target=beat, name="besom-message", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
