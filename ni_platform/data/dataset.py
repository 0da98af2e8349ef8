"""A dataset: one row per content, opened from a folder or written to one."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ni_platform.data import picture_cache, storage, vectors
from ni_platform.data.assignment import MISMATCHED, kinds_of
from ni_platform.data.checksums import remote_digests
from ni_platform.data.manifest import FILE_NAME, Manifest, nearest
from ni_platform.data.reading.parquet_file import read_parquet
from ni_platform.data.reading.table import Role, SourceTable, typed
from ni_platform.data.sample_ratio import MISMATCH, SampleRatios, sample_ratios
from ni_platform.data.table_check import check_table
from ni_platform.errors import DatasetError

COUNTS_FILE = "counts.parquet"
"""Counts per content and day, where a dataset has them: content_id, day, impressions, clicks."""
_THREADS = 16


class Dataset:
    """Contents of one dataset folder, in memory; pictures stay where they are.

    `Dataset.open` reads a folder. The structure is checked here (declared columns exist and have
    a fitting type); whether the values make sense is the business of the data checks.
    """

    root: str
    manifest: Manifest
    contents: pd.DataFrame
    """RangeIndex; labels as the one text that they have everywhere, other columns as they are."""

    def __init__(self, root: str | Path, manifest: Manifest, contents: pd.DataFrame) -> None:
        self.root = str(root)
        self.manifest = manifest
        self.contents = contents.reset_index(drop=True)
        check_table(self.contents, manifest, self.root)

    @classmethod
    def open(cls, root: str | Path) -> "Dataset":
        """Open a local folder or `s3://` prefix that holds a `dataset.yaml`."""
        root = str(root) if storage.is_remote(root) else str(Path(root).absolute())
        path = storage.join(root, FILE_NAME)
        if not storage.exists(path):
            raise DatasetError(
                f"{root} is not a dataset folder, as it holds no {FILE_NAME}: name a folder that "
                "`ni data import` has written, or write the manifest yourself."
            )
        manifest = Manifest.load(path)
        path = storage.join(root, manifest.contents)
        table = read_parquet(storage.read_bytes(path), path, manifest.roles)
        contents = typed(SourceTable(name=path, columns=table), manifest.roles)
        return cls(root, manifest, contents)

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def content_id(self) -> pd.Series:
        """The id of each content."""
        return self.contents[self.manifest.columns.content_id]

    @property
    def ab_test(self) -> pd.Series:
        """The A/B test of each content, None where it was not in one."""
        column = self._nullable(self.manifest.columns.ab_test)
        if column is None:
            return pd.Series([None] * len(self), dtype=object, index=self.contents.index)
        return column

    @property
    def arm(self) -> pd.Series | None:
        """The arm of each content, or None where the dataset declares none."""
        return self._nullable(self.manifest.columns.arm)

    @cached_property
    def assignment(self) -> pd.Series:
        """How each content was assigned, a word of `KINDS`; observational outside of A/B tests."""
        column = self._nullable(self.manifest.columns.assignment)
        return kinds_of(self.ab_test, self.manifest.assignment, column, source=self.root)

    @cached_property
    def sample_ratio(self) -> SampleRatios:
        """Whether arms of randomised A/B tests got the impressions that were planned for them."""
        rows = np.flatnonzero(self.assignment == "randomised")
        share = self.manifest.columns.share
        weight = np.ones(len(self)) if share is None else self._number(share)
        return sample_ratios(
            self.ab_test.iloc[rows],
            self.content_id.iloc[rows],
            self.impressions[rows],
            None if self.manifest.shares == "unknown" else weight[rows],
            self._daily_counts() if len(rows) else None,
        )

    @cached_property
    def evidence(self) -> pd.Series:
        """What each content's outcome can prove [N]: as `assignment`, or mismatched.

        Mismatched are randomised A/B tests without the planned shares of impressions.
        """
        table = self.sample_ratio.table
        failing = table["ab_test"][table["outcome"] == MISMATCH]
        return self.assignment.mask(self.ab_test.isin(failing.tolist()), MISMATCHED)

    @property
    def randomised_test(self) -> pd.Series:
        """The A/B test of each content that figures within A/B tests may count, else None [N].

        It is randomised, and its arms got the planned shares of impressions, as far as is known.
        """
        return self.ab_test.where(self.evidence == "randomised", None)

    @property
    def platform_test(self) -> pd.Series:
        """The A/B test of each content whose arms a platform delivered, else None [N]."""
        return self.ab_test.where(self.evidence == "platform", None)

    def _daily_counts(self) -> pd.DataFrame | None:
        path = storage.join(self.root, COUNTS_FILE)
        if not storage.exists(path):
            return None
        roles: dict[str, Role] = {"content_id": "label", "impressions": "count"}
        table = read_parquet(storage.read_bytes(path), path, [*roles, "day"])
        return typed(SourceTable(name=path, columns=table), roles)

    @property
    def day(self) -> pd.Series | None:
        """First day of each content (ISO text, None where unknown); None where none is declared."""
        return self._nullable(self.manifest.columns.day)

    @property
    def domain(self) -> pd.Series | None:
        """The domain of each content, or None where the dataset declares none."""
        return self._nullable(self.manifest.columns.domain)

    @cached_property
    def image_uri(self) -> pd.Series | None:
        """Absolute path or `s3://` URI of each picture, None where a content has none."""
        names = self._nullable(self.manifest.columns.image)
        if names is None:
            return None
        folder = self.images_root
        if storage.is_remote(folder):
            picture_cache.watch(folder)
        uris = [None if name is None else storage.join(folder, name) for name in names]
        return pd.Series(uris, dtype=object, index=names.index, name=names.name)

    @property
    def images_root(self) -> str:
        """Absolute folder or `s3://` prefix of the pictures."""
        return storage.join(self.root, self.manifest.images or "")

    @cached_property
    def ratings(self) -> np.ndarray | None:
        """float64 [N, buckets]: counts of ratings, lowest first; None where there are clicks."""
        names = self.manifest.target.ratings
        return None if names is None else np.stack([self._number(n) for n in names], axis=1)

    @cached_property
    def impressions(self) -> np.ndarray:
        """float64 [N]; for ratings the number of ratings."""
        if self.ratings is not None:
            return self.ratings.sum(axis=1)
        return self._number(str(self.manifest.target.impressions))

    @cached_property
    def clicks(self) -> np.ndarray:
        """float64 [N]; for ratings `success_rate * impressions`."""
        if self.ratings is not None:
            return np.nan_to_num(self.success_rate) * self.impressions
        return self._number(str(self.manifest.target.clicks))

    @cached_property
    def success_rate(self) -> np.ndarray:
        """float64 [N] in [0, 1], nan without impressions.

        Clicks / impressions; for ratings (mean bucket - 1) / (buckets - 1), buckets from 1.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.ratings is None:
                return self.clicks / self.impressions
            position = np.arange(self.ratings.shape[1])
            return self.ratings @ position / self.impressions / position[-1]

    def inputs(self, rows: Sequence[int] | np.ndarray | None = None) -> pd.DataFrame:
        """The columns that a model may read, pictures as URIs; RangeIndex, in order of `rows`."""
        columns = self.manifest.columns
        frame = self.contents[list(columns.inputs)]
        if columns.image is not None:
            frame = frame.assign(**{columns.image: self.image_uri})
        if rows is not None:
            frame = frame.iloc[np.asarray(rows, dtype=np.int64)]
        return frame.reset_index(drop=True)

    def without_inputs(self, names: Sequence[str]) -> "Dataset":
        """The same contents with fewer columns declared as inputs.

        Raises `DatasetError` for a name that is not an input column.
        """
        columns = self.manifest.columns
        known = list(columns.inputs)
        for name in names:
            if name not in known:
                raise DatasetError(
                    f"Only an input column can be left out, but {name!r} is none of "
                    f"{known}{nearest(name, known)}: correct the name."
                )
        manifest = replace(
            self.manifest,
            columns=columns.only([name for name in known if name not in names]),
            images=None if columns.image in names else self.manifest.images,
            derived=tuple(name for name in self.manifest.derived if name not in names),
        )
        return Dataset(self.root, manifest, self.contents)

    @cached_property
    def image_digests(self) -> pd.Series | None:
        """Text that is equal for pictures of equal bytes, None for a missing cell or file.

        SHA-256 of local files, and of S3 objects that were pushed and not changed since; size and
        ETag of other objects, which one listing gives.
        """
        uris = self.image_uri
        if uris is None:
            return None
        names = [name for name in uris.unique() if name is not None]
        if storage.is_remote(self.images_root):
            digests: Mapping[str, str | None] = remote_digests(self.root, self.images_root)
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                digests = dict(zip(names, pool.map(_digest, names)))
        return pd.Series([digests.get(uri) for uri in uris], dtype=object, index=uris.index)

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the manifest, the contents table and the bytes of the pictures.

        The order of the columns does not count, the order of the rows does. A folder, its pushed
        copy and what is pulled from there have the same. That A/B tests are randomised, which
        versions without the word took for granted, does not count, so that their runs' data are
        known again when the word is added; nor does the sentence why.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        told = self.manifest.to_dict()
        told.pop("assignment_reason", None)
        usual = "observational" if self.manifest.columns.ab_test is None else "randomised"
        if told.get("assignment") == usual:
            del told["assignment"]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for name in sorted(self.contents.columns):
            column = self.contents[name]
            # Text may be stored as `str` or `object`: the same cells must give the same hash.
            if name in self.manifest.columns.vector:
                values = vectors.digests(column)
            else:
                values = column if pd.api.types.is_numeric_dtype(column) else _as_text(column)
            digest.update(str(name).encode())
            digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
        pictures = self.image_digests
        if pictures is not None:
            digest.update("\n".join(str(item) for item in pictures).encode())
        return digest.hexdigest()

    def _number(self, name: str) -> np.ndarray:
        return self.contents[name].to_numpy(dtype=np.float64, na_value=np.nan)

    def _nullable(self, name: str | None) -> pd.Series | None:
        if name is None:
            return None
        column = self.contents[name].astype(object)
        return column.where(column.notna(), None)


def _as_text(column: pd.Series) -> pd.Series:
    cells = column.astype(object)
    return cells.map(str).astype(object).where(cells.notna(), None)


def _digest(path: str) -> str | None:
    return storage.sha256(path) if os.path.isfile(path) else None
