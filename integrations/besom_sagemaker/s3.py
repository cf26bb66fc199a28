"""The few things that client and job do with S3: put, get, list and fetch, by `s3://bucket/key`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from besom.errors import UsageError


class S3:
    """Objects by their address; every call may raise botocore's errors, and OSError for local files."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def put(self, address: str, body: bytes) -> None:
        """Write an object."""
        bucket, key = split_s3(address)
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, address: str) -> bytes | None:
        """Give what is in an object, None if there is none."""
        bucket, key = split_s3(address)
        try:
            body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return body

    def names(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Give the names of the objects below a prefix that ends with "/", in order, behind `after`."""
        bucket, key = split_s3(prefix)
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=key, StartAfter=key + after
        )
        for page in pages:
            for found in page.get("Contents", ()):
                yield found["Key"][len(key) :]

    def fetch(self, address: str, path: Path) -> None:
        """Write an object to a file, whose folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(*split_s3(address), str(path))

    def fetch_all(self, prefix: str, folder: Path) -> int:
        """Write all objects below a prefix into a folder; gives how many there were."""
        count = 0
        for name in self.names(prefix):
            if name and not name.endswith("/"):
                self.fetch(prefix + name, folder / name)
                count += 1
        return count

    def upload(self, path: Path, address: str) -> None:
        """Write a file to an object."""
        self.client.upload_file(str(path), *split_s3(address))


def split_s3(address: str) -> tuple[str, str]:
    """Give bucket and key of `s3://bucket/key`; UsageError if it is none."""
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise UsageError(f"{address!r} is no S3 address; write s3://bucket/prefix")
    return parts.netloc, address.partition("://")[2].partition("/")[2]


def create_s3(*, region: str | None = None) -> S3:
    """Give S3 by the credentials of this process; calls are tried again for about a minute."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=4,
    )
    return S3(boto3.client("s3", region_name=region, config=config))  # pyright: ignore
