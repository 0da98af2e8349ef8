"""A dataset folder written, local or on S3: whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ni_platform.data import storage
from ni_platform.data.checksums import write_checksums
from ni_platform.data.dataset import Dataset
from ni_platform.data.disk import explained_disk_errors
from ni_platform.data.manifest import FILE_NAME, Manifest
from ni_platform.data.table_check import check_table
from ni_platform.errors import DatasetError

_THREADS = 16


def write_dataset(
    root: str | Path,
    manifest: Manifest,
    contents: pd.DataFrame,
    images: Mapping[str, Path] | None = None,
    files: Mapping[str, Path] | None = None,
    *,
    replace: bool = False,
) -> Dataset:
    """Write a dataset folder (local or `s3://`) and open it.

    `images` gives the local file behind each name of the image column; a file on the same disk is
    hard-linked. `files` are further local files to copy into the folder, by path. `dataset.yaml` is
    written last and a local folder appears in one step, so that an interrupted write leaves nothing
    that looks complete. With `replace` a local folder takes the place of the one that is there.

    Raises:
        DatasetError: `root` is in use otherwise, the disk is full, or the table does not fit the
            manifest.
    """
    check_table(contents, manifest, str(root))
    if not replace:
        check_free(root)
    if storage.is_remote(root):
        with tempfile.TemporaryDirectory() as folder, explained_disk_errors(folder):
            filled = _filled(Path(folder), manifest, contents, {})
            _upload(filled, str(root), images or {}, manifest, files or {})
        return Dataset.open(root)
    target = Path(root).resolve()  # what a link names, which is to stay
    with explained_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        try:
            partial.chmod(0o755)
            for name, source in (files or {}).items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, partial / name)
            _filled(partial, manifest, contents, images or {})
            if replace:
                os.rename(target, _set_by(target))
            os.replace(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    if replace:
        shutil.rmtree(_set_by(target))
    return Dataset.open(root)


def restore(root: str | Path) -> None:
    """Put back a folder that was about to be replaced when its process was killed."""
    target = Path(root).resolve()
    if not target.exists() and _set_by(target).exists():
        os.rename(_set_by(target), target)
    elif target.exists():
        shutil.rmtree(_set_by(target), ignore_errors=True)


def _set_by(target: Path) -> Path:
    """Where a folder lies while another takes its place."""
    return target.with_name(f".{target.name}.replaced")


def check_free(root: str | Path) -> None:
    """Raise `DatasetError` where a dataset folder (local or `s3://`) cannot be written anew."""
    if storage.is_remote(root):
        used = storage.exists(storage.join(root, FILE_NAME))
    else:
        root = Path(root).absolute()
        used = root.exists() and (not root.is_dir() or any(root.iterdir()))
    if used:
        raise DatasetError(f"{root} is already there: choose another folder, or delete it first.")


def _filled(
    folder: Path, manifest: Manifest, contents: pd.DataFrame, images: Mapping[str, Path]
) -> Path:
    if images and (manifest.images is None or os.path.isabs(manifest.images)):
        raise DatasetError(
            f"Pictures are copied into the dataset folder, but images is {manifest.images!r}: "
            "give a folder name such as images."
        )
    for name, source in images.items():
        _place(source, folder / str(manifest.images) / name)
    table = folder / manifest.contents
    table.parent.mkdir(parents=True, exist_ok=True)
    try:
        contents.reset_index(drop=True).to_parquet(table, index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"Cells of a column must be of one type that Parquet holds, but {error.args}: convert "
            "the column, to texts if nothing else fits."
        ) from error
    manifest.save(folder / FILE_NAME)
    return folder


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk, or a file system or owner that forbids links
        shutil.copyfile(source, target)


def _upload(
    folder: Path,
    root: str,
    images: Mapping[str, Path],
    manifest: Manifest,
    files: Mapping[str, Path],
) -> None:
    pairs = [(folder / manifest.contents, storage.join(root, manifest.contents))]
    prefix = storage.join(root, manifest.images or "")
    pairs += [(source, storage.join(prefix, name)) for name, source in images.items()]
    pairs += [(source, storage.join(root, name)) for name, source in files.items()]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda pair: storage.upload(*pair), pairs))
    below = f"{root.rstrip('/')}/"
    write_checksums(root, {uri.removeprefix(below): storage.sha256(path) for path, uri in pairs})
    storage.upload(folder / FILE_NAME, storage.join(root, FILE_NAME))
