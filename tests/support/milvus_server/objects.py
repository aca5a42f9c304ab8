"""The bucket in which a Milvus keeps its files."""

import functools
from collections.abc import Iterator
from typing import Protocol

import boto3
from botocore.config import Config
from mypy_boto3_s3 import S3Client

_MOST_IN_A_BATCH = 1000


class NoSuchObjectError(KeyError):
    """There is no object of this key, or no longer."""


class Objects(Protocol):
    """What a Milvus needs of an object store."""

    def keys(self, prefix: str) -> list[str]:
        """Return all keys that begin so, sorted."""

    def get(self, key: str) -> bytes:
        """Return an object's content; raises `NoSuchObjectError` where there is none."""

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are no error."""


class MemoryObjects:
    """A bucket in memory, for tests of files only."""

    def __init__(self) -> None:
        """Begin with an empty bucket."""
        self._contents: dict[str, bytes] = {}

    def keys(self, prefix: str) -> list[str]:
        """Return all keys that begin so, sorted."""
        return sorted(key for key in self._contents if key.startswith(prefix))

    def get(self, key: str) -> bytes:
        """Return an object's content; raises `NoSuchObjectError` where there is none."""
        return self._contents[key]

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._contents[key] = content

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        for key in keys:
            self._contents.pop(key, None)


class S3Objects:
    """A bucket on an S3 server; it is created where it is not there."""

    def __init__(self, endpoint: str, bucket: str, *, access_key: str, secret_key: str) -> None:
        """Connect to the server."""
        self._client = _client(endpoint, access_key, secret_key)
        self._bucket = bucket
        if bucket not in {found["Name"] for found in self._client.list_buckets()["Buckets"]}:
            self._client.create_bucket(Bucket=bucket)

    def keys(self, prefix: str) -> list[str]:
        """Return all keys that begin so, sorted."""
        return sorted(self._keys(prefix))

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", []):
                # SeaweedFS lists folders for some prefixes.
                if found["Key"].startswith(prefix):
                    yield found["Key"]

    def get(self, key: str) -> bytes:
        """Return an object's content; raises `NoSuchObjectError` where there is none."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey as err:
            raise NoSuchObjectError(key) from err

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content)

    def delete(self, keys: list[str]) -> None:
        """Remove objects; those that are not there are no error."""
        for start in range(0, len(keys), _MOST_IN_A_BATCH):
            batch = keys[start : start + _MOST_IN_A_BATCH]
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch]})


@functools.cache
def _client(endpoint: str, access_key: str, secret_key: str) -> S3Client:
    """Return the client of a server, the same one each time: making one takes longer than filling a collection."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(max_pool_connections=32, s3={"addressing_style": "path"}),
    )
