"""Files by URI: a local path or `s3://bucket/key`, behind the same few functions.

S3 goes through boto3, so its usual settings apply: credentials from the environment or profile,
`AWS_ENDPOINT_URL` for a store that is not Amazon's. This is the only module that knows boto3.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ni_platform.data.disk import disk_message, replacing
from ni_platform.errors import DatasetError, clause

_SCHEME = "s3://"
_MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_CHANGED_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_HASH_CHUNK_BYTES = 1 << 20
_CHECKSUM = "sha256"
_LISTING_PAGE = 1000

OnFile = Callable[[int, int], None]
"""Told how many files are done, and of how many."""


class MissingFileError(DatasetError):
    """The URI names nothing that exists."""


def is_remote(uri: str | Path) -> bool:
    """Whether `uri` is an `s3://` URI rather than a local path."""
    return str(uri).startswith(_SCHEME)


def join(uri: str | Path, name: str) -> str:
    """`name` below `uri`; a `name` that is itself remote or absolute stands for itself."""
    if is_remote(name) or os.path.isabs(name):
        return name
    if is_remote(uri):
        below = "" if name == "." else name.removeprefix("./")
        return f"{str(uri).rstrip('/')}/{below}"
    return os.path.join(uri, name)


def exists(uri: str | Path) -> bool:
    """Whether a file or object is there. An unreachable store raises `DatasetError`."""
    if not is_remote(uri):
        return os.path.exists(uri)
    bucket, key = _split(str(uri))
    try:
        with _explained(str(uri)):
            _client().head_object(Bucket=bucket, Key=key)
    except MissingFileError:
        return False
    return True


def size(uri: str | Path) -> int:
    """Bytes of a file or object. Raises `MissingFileError` or, for other causes, `DatasetError`."""
    with _explained(str(uri)):
        if not is_remote(uri):
            return os.path.getsize(uri)
        bucket, key = _split(str(uri))
        length: int = _client().head_object(Bucket=bucket, Key=key)["ContentLength"]
        return length


def read_bytes(uri: str | Path) -> bytes:
    """The whole content. Raises `MissingFileError` or, for other causes, `DatasetError`."""
    with _explained(str(uri)):
        if not is_remote(uri):
            return Path(uri).read_bytes()
        bucket, key = _split(str(uri))
        body: bytes = _client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return body


def read_with_stamp(uri: str) -> tuple[bytes, str]:
    """The content of an `s3://` object, and its size and ETag as `object_stamps` gives them."""
    body, etag = read_with_etag(uri)
    return body, _stamp(len(body), etag)


def read_with_etag(uri: str) -> tuple[bytes, str]:
    """The content of an `s3://` object and the ETag by which `write_if` knows it."""
    bucket, key = _split(uri)
    with _explained(uri):
        answer = _client().get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["ETag"]


@contextmanager
def local_copy(uri: str | Path) -> Iterator[Path]:
    """Give a path with the file's content: itself if local, else a copy for the time of use."""
    if not is_remote(uri):
        if not os.path.isfile(uri):
            raise MissingFileError(f"{uri} does not exist, or is no file: check the path.")
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(str(uri)).name
        download(str(uri), path)
        yield path


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write a whole file or object; a reader sees the old content or the new, never a half."""
    with _explained(str(uri)):
        if is_remote(uri):
            bucket, key = _split(str(uri))
            _client().put_object(Bucket=bucket, Key=key, Body=data)
        else:
            with replacing(Path(uri)) as file:
                file.write(data)


def write_if(uri: str, data: bytes, etag: str | None) -> str | None:
    """Write an `s3://` object if it is still the one of `etag` (None: if there is none).

    Returns its new ETag, or None where another object, or none, is there: compare and swap. A
    store that ignores the condition always writes; see `keeps_conditions`.
    """
    bucket, key = _split(uri)
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    with _explained(uri):
        try:
            answer = _client().put_object(Bucket=bucket, Key=key, Body=data, **condition)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _CHANGED_CODES or (etag is not None and code in _MISSING_CODES):
                return None
            raise
    written: str = answer["ETag"]
    return written


def keeps_conditions(folder: str) -> bool:
    """Whether the store of this `s3://` folder looks at the conditions of `write_if`."""
    probe = join(folder, f".ni-probe-{uuid4().hex}")
    try:
        return write_if(probe, b"1", None) is not None and write_if(probe, b"2", None) is None
    finally:
        delete(probe)


def write_file(uri: str | Path, path: Path) -> None:
    """Copy a local file of any size to a place; a reader sees the old content or the new."""
    if is_remote(uri):
        upload(path, str(uri))
        return
    with _explained(str(uri)), path.open("rb") as source, replacing(Path(uri)) as file:
        shutil.copyfileobj(source, file)


def delete(uri: str | Path) -> None:
    """Remove a file or object; none there is no error."""
    with _explained(str(uri)):
        if is_remote(uri):
            bucket, key = _split(str(uri))
            _client().delete_object(Bucket=bucket, Key=key)
        else:
            Path(uri).unlink(missing_ok=True)


def upload(path: Path, uri: str, *, checksum: str | None = None) -> None:
    """Copy a local file to an `s3://` URI, in parts where it is large; `checksum` stays with it."""
    bucket, key = _split(uri)
    extra = {"Metadata": {_CHECKSUM: checksum}} if checksum else None
    with _explained(uri):
        _client().upload_file(str(path), bucket, key, ExtraArgs=extra)


def download(uri: str, path: Path) -> None:
    """Copy an `s3://` object to a local file, in parts where it is large."""
    bucket, key = _split(uri)
    with _explained(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
        _client().download_file(bucket, key, str(path))


def stored_checksum(uri: str) -> str | None:
    """The checksum that `upload` left with an object; None if there is no object or checksum."""
    bucket, key = _split(uri)
    try:
        with _explained(uri):
            head = _client().head_object(Bucket=bucket, Key=key)
    except MissingFileError:
        return None
    checksum: str | None = head.get("Metadata", {}).get(_CHECKSUM)
    return checksum


def list_files(uri: str | Path) -> list[str]:
    """Names of all files below `uri`, relative to it, sorted."""
    if is_remote(uri):
        return sorted(object_stamps(str(uri)))
    root = Path(uri)
    if not root.is_dir():
        raise MissingFileError(f"{root} is not a folder: check the path.")
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def object_stamps(prefix: str) -> dict[str, str]:
    """Relative name of each object below an `s3://` prefix, with its size and ETag.

    Names are the keys as they are, without any decoding. Objects that end in a slash, by which
    consoles show an empty folder, are no files.
    One listing stands in for reading every object: the ETag changes whenever the bytes do.
    """
    bucket, key = _split(prefix)
    start = f"{key.rstrip('/')}/" if key else ""
    stamps: dict[str, str] = {}
    with _explained(prefix):
        pages = (
            _client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=start, PaginationConfig={"PageSize": _LISTING_PAGE})
        )
        for page in pages:
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):
                    stamps[item["Key"][len(start) :]] = _stamp(item["Size"], item["ETag"])
    return stamps


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a local file, read in pieces."""
    digest = hashlib.sha256()
    with _explained(str(path)), open(path, "rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    if not bucket:
        raise DatasetError(f"An S3 URI must read s3://BUCKET/KEY, but got {uri!r}.")
    return bucket, key


def _stamp(size: int, etag: str) -> str:
    return f"{size}-{etag.strip(chr(34))}"


def _client() -> Any:
    # A client must not cross a fork, and tests and users change the endpoint.
    return _client_of(os.getpid(), os.environ.get("AWS_ENDPOINT_URL"))


@lru_cache(maxsize=8)
def _client_of(process: int, endpoint: str | None) -> Any:
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"max_attempts": 4, "mode": "standard"},
        max_pool_connections=32,
    )
    return boto3.session.Session().client("s3", config=config)


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MissingFileError(f"{uri} does not exist: check the path.") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MISSING_CODES:
            raise MissingFileError(
                f"{uri} does not exist ({code}): check bucket and key."
            ) from error
        raise DatasetError(
            f"The S3 store refused {uri} ({code}): check the credentials and that they may "
            "read and write there."
        ) from error
    except (BotoCoreError, boto3.exceptions.Boto3Error) as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "Amazon's default endpoint")
        raise DatasetError(
            f"{uri} cannot be reached through {endpoint}: {clause(error)}. Check "
            "AWS_ENDPOINT_URL, the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a "
            "profile) and the network."
        ) from error
    except OSError as error:
        raise DatasetError(disk_message(error, uri)) from error
