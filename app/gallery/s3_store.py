"""The image store that is a bucket of any S3-compatible server.

A request that was answered is durable, so `seal` has nothing to wait for. Credentials come from where the AWS tools
look for them, first the AWS_* variables; they appear in no message and no log line.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError

from app.errors import BucketMissingError, StorageError, StoreDeniedError, StoreUnreachableError
from app.gallery.store import BLURRED, KINDS, PICTURE, THUMBNAIL, ImageStore, Referenced

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

_CONNECT_S, _READ_S, _ATTEMPTS = 3.0, 20.0, 3
_CHECK_S = 3.0
_DELETE_AT_ONCE = 1000
_ABSENT = {"NoSuchKey", "404"}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403", "401"}
_AWAY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"}

for _name in ("boto3", "botocore", "s3transfer"):  # their debug lines hold signed headers
    logging.getLogger(_name).setLevel(logging.WARNING)


class S3Store(ImageStore):
    """Pictures as objects `prefix/<name>.jpg` of a bucket."""

    def __init__(self, bucket: str, prefix: str, endpoint: str, journals: Path, referenced: Referenced) -> None:
        super().__init__(journals, referenced)
        self._bucket, self._endpoint = bucket, endpoint
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _client(endpoint, _READ_S, _ATTEMPTS)
        self._probe = _client(endpoint, _CHECK_S, 1)

    @property
    def place(self) -> str:
        """The bucket's address."""
        return f"s3://{self._bucket}/{self._prefix}" + (f" at {self._endpoint}" if self._endpoint else "")

    def check(self) -> None:
        """Ask for the bucket, once and not for long; refuse one that would keep what is erased."""
        with self._errors():
            self._probe.head_bucket(Bucket=self._bucket)
            if self._probe.get_bucket_versioning(Bucket=self._bucket).get("Status") == "Enabled":
                raise StorageError(
                    f"the bucket {self._bucket} keeps old versions, so an erased picture would not be gone; use a "
                    "bucket without versioning"
                )

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()
        self._probe.close()

    def read(self, name: str, *, thumbnail: bool = False) -> bytes | None:
        """Fetch an object."""
        if thumbnail and (found := self._get(f"{name}{THUMBNAIL}")) is not None:
            return found
        return self._get(f"{name}{PICTURE}")

    def read_blurred(self, name: str) -> bytes | None:
        """Fetch an object."""
        return self._get(f"{name}{BLURRED}")

    def holds(self, name: str, kind: str) -> bool:
        """Asks for the object's head."""
        with self._errors():
            try:
                self._client.head_object(Bucket=self._bucket, Key=f"{self._prefix}{name}{kind}")
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return False
                raise
        return True

    def names(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """Lists the bucket, a thousand objects for each request."""
        latest = datetime.now(UTC) - timedelta(seconds=older_than_s)
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self._prefix)
                    if (
                        key.endswith(PICTURE)
                        and not key.endswith((THUMBNAIL, BLURRED))
                        and item["LastModified"] <= latest
                    ):
                        yield key[: -len(PICTURE)]

    def _begin(self, folder: str) -> None:
        """A bucket has no folders."""

    def _seal(self, folder: str) -> None:
        """Every object is durable since its request was answered."""

    def _write(self, name: str, picture: bytes, thumbnail: bytes | None) -> None:
        self._put_object(f"{name}{PICTURE}", picture)
        if thumbnail is not None:
            self._put_object(f"{name}{THUMBNAIL}", thumbnail)

    def _remove(self, names: Sequence[str]) -> None:
        keys: list[ObjectIdentifierTypeDef] = [
            {"Key": f"{self._prefix}{name}{kind}"} for name in names for kind in KINDS
        ]
        with self._errors():
            for start in range(0, len(keys), _DELETE_AT_ONCE):
                part = keys[start : start + _DELETE_AT_ONCE]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": part, "Quiet": True})
                if errors := answer.get("Errors"):
                    code, count = errors[0].get("Code", "no code"), len(errors)
                    raise StorageError(f"{self.place} did not remove {count} objects ({code}); allow s3:DeleteObject")

    def _write_blurred(self, name: str, data: bytes) -> None:
        self._put_object(f"{name}{BLURRED}", data)

    def _put(self, name: str, kind: str, data: bytes) -> None:
        self._put_object(f"{name}{kind}", data)

    def _drop(self, name: str, kind: str) -> None:
        with self._errors():
            self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}{name}{kind}")

    def _put_object(self, key: str, data: bytes) -> None:
        with self._errors():
            self._client.put_object(
                Bucket=self._bucket, Key=f"{self._prefix}{key}", Body=data, ContentType="image/jpeg"
            )

    def _get(self, key: str) -> bytes | None:
        with self._errors():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{key}")
                with answer["Body"] as body:
                    return body.read()
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError):
            raise StoreDeniedError(
                f"no credentials for {self.place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        except ClientError as error:
            raise self._refused(error) from None
        except (HTTPClientError, BotoCoreError) as error:
            raise StoreUnreachableError(
                f"{self.place} does not answer ({type(error).__name__}); check DESCRY_S3_ENDPOINT, and that the "
                "server runs and can be reached from here"
            ) from None

    def _refused(self, error: ClientError) -> StorageError:
        code = _code(error)
        operation = error.operation_name
        if code == "NoSuchBucket" or (operation == "HeadBucket" and code == "404"):
            return BucketMissingError(f"there is no bucket {self._bucket}; make it, or correct DESCRY_IMAGE_STORE")
        if code in _DENIED:
            return StoreDeniedError(
                f"{self.place} refuses {operation} ({code}): check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
                "that they may list, get, put and delete here"
            )
        if code in _AWAY:
            return StoreUnreachableError(f"{self.place} cannot answer {operation} now ({code}); it will be tried again")
        return StorageError(f"{self.place} refuses {operation} ({code}); its own log says why")


def _client(endpoint: str, read_s: float, attempts: int) -> "S3Client":
    config: Any = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=2 * (os.cpu_count() or 1) + 8,
        # Other servers than Amazon's may not know the newer checksums; the signature covers the body anyway.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session()
    region = session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=endpoint or None, region_name=region, config=config)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
