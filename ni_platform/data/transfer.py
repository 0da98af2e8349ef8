"""Dataset folders to and from S3: in parallel, checked, and going on where they stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ni_platform.data import storage
from ni_platform.data.checksums import FILE_NAME as CHECKSUMS
from ni_platform.data.checksums import write_checksums
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import check_free
from ni_platform.data.disk import explained_disk_errors
from ni_platform.data.manifest import FILE_NAME
from ni_platform.data.storage import OnFile
from ni_platform.errors import DatasetError

_THREADS = 16


def push(
    folder: str | Path, target: str, on_file: OnFile = lambda done, total: None
) -> tuple[int, int]:
    """Copy a local dataset folder to an `s3://` prefix; `dataset.yaml` goes last.

    A file that is already there with the same SHA-256 is not sent again, so an interrupted push
    goes on when it is repeated.

    Returns:
        Number of files in the dataset, and how many of them were sent.

    """
    _check_places(local=folder, remote=target)
    dataset = Dataset.open(folder)
    files = {name for name in storage.list_files(folder) if not _hidden(name)}
    names = sorted(files | _pictures(dataset))
    unnamed = [name for name in names if not _is_text(name)]
    if unnamed:
        raise DatasetError(
            f"The key of an object is text in UTF-8, but the name of {unnamed[0]!r} in {folder} is "
            "not: rename the file."
        )
    checksums: dict[str, str] = {}

    def send(name: str) -> bool:
        path, uri = Path(folder) / name, storage.join(target, name)
        checksum = checksums[name] = storage.sha256(path)
        if name == FILE_NAME:
            write_checksums(target, checksums)  # of everything else, which has arrived
        if storage.stored_checksum(uri) == checksum:
            return False
        storage.upload(path, uri, checksum=checksum)
        return True

    return _for_each(names, send, on_file)


def pull(
    source: str, folder: str | Path, on_file: OnFile = lambda done, total: None
) -> tuple[int, int]:
    """Copy a dataset from an `s3://` prefix into a local folder, which appears in one step.

    Until then files lie in `.NAME.pulling` beside it; a repeated pull keeps those of them that are
    whole.

    Returns:
        Number of files in the dataset, and how many of them were fetched.

    Raises:
        DatasetError: A file differs from its checksum, or the folder is in use.

    """
    _check_places(local=folder, remote=source)
    target = Path(folder).absolute()
    check_free(target)
    names = [name for name in storage.list_files(source) if name != CHECKSUMS]
    if FILE_NAME not in names:
        raise DatasetError(f"{source} is not a dataset: it has no {FILE_NAME}. Check the prefix.")
    _check_keys(source, names)
    partial = target.with_name(f".{target.name}.pulling")
    with explained_disk_errors(target):
        partial.mkdir(parents=True, exist_ok=True)

    def fetch(name: str) -> bool:
        path, uri = partial / name, storage.join(source, name)
        expected = storage.stored_checksum(uri)
        if expected is not None and path.is_file() and storage.sha256(path) == expected:
            return False
        storage.download(uri, path)
        if expected is not None and (found := storage.sha256(path)) != expected:
            path.unlink()
            raise DatasetError(
                f"{uri} must have the SHA-256 {expected}, but what came has {found}: push it again."
            )
        return True

    counts = _for_each(names, fetch, on_file)
    with explained_disk_errors(target):
        for stray in set(storage.list_files(partial)) - set(names):
            (partial / stray).unlink()  # of a version before
        os.replace(partial, target)
    Dataset.open(target)
    return counts


def _for_each(
    names: Sequence[str], move: Callable[[str], bool], on_file: OnFile
) -> tuple[int, int]:
    """Move all files, `dataset.yaml` after the others: with it a dataset looks complete."""
    moved = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            futures = [pool.submit(move, name) for name in names if name != FILE_NAME]
            for done, future in enumerate(as_completed(futures), start=1):
                moved += future.result()
                on_file(done, len(names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    moved += move(FILE_NAME)
    on_file(len(names), len(names))
    return len(names), moved


def _check_places(*, local: str | Path, remote: str) -> None:
    if storage.is_remote(local) or not storage.is_remote(remote):
        raise DatasetError(
            f"A dataset is copied between a local folder and an s3:// prefix, but got {local} and "
            f"{remote}."
        )


def _check_keys(source: str, names: Sequence[str]) -> None:
    """Refuse keys that as paths would be another file's, or lie outside of the folder."""
    strange = [name for name in names if {"", ".", ".."} & set(name.split("/"))]
    if strange:
        raise DatasetError(
            f"A dataset is pulled into a folder, but {source} has {strange[0]!r}, which is no name "
            "of a file in it: rename or delete the object."
        )


def _pictures(dataset: Dataset) -> set[str]:
    """Names below the folder of the pictures that rows name, hidden ones and behind links too."""
    uris = () if dataset.image_uri is None else dataset.image_uri.dropna().unique()
    names = {os.path.relpath(uri, dataset.root) for uri in uris if os.path.isfile(uri)}
    return {Path(name).as_posix() for name in names if Path(name).parts[0] != ".."}


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding
        return False
    return True


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
