"""Texts and pictures of contents: from another file, from URLs, from earlier imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.importers.creatives import Creatives, join_creatives
from ni_platform.data.importers.download import DownloadLimits
from ni_platform.data.importers.exports.history import CreativeColumns, History
from ni_platform.data.importers.exports.profile import Profile
from ni_platform.data.importers.exports.rows import CONTENT_ID, IMPRESSIONS
from ni_platform.data.importers.pictures import OnPicture, collect_pictures
from ni_platform.data.reading.csv_file import Say
from ni_platform.errors import ConfigError, DatasetError


@dataclass(frozen=True, kw_only=True)
class WithCreatives:
    """Contents with what is known of their creatives."""

    contents: pd.DataFrame
    columns: CreativeColumns = field(default_factory=CreativeColumns)
    images: str | None = None
    """As `Manifest.images`."""
    pictures: Mapping[str, Path] = field(default_factory=dict)
    """Name in the dataset -> local file."""
    unmatched: pd.DataFrame | None = None
    """What found no partner."""


@dataclass(frozen=True, kw_only=True)
class CreativeSource:
    """Where an import's creatives are."""

    creatives: Creatives | None = None
    fetch: bool = True
    """Whether pictures are fetched from URLs in the export itself."""
    limits: DownloadLimits | None = None


def with_creatives(
    contents: pd.DataFrame,
    profile: Profile,
    source: CreativeSource,
    key: str | None,
    history: History,
    out: str | Path,
    cache: Path,
    *,
    on_picture: OnPicture,
    say: Say,
) -> WithCreatives:
    """Add texts and pictures to contents; what a folder has from before stays.

    Raises:
        DatasetError: As `join_creatives`; or pictures would lie in two places.
        ConfigError: The export has no field `key` that names creatives.
    """
    if source.creatives is not None:
        found = _joined(contents, profile, source, key, cache, on_picture, say)
    elif source.fetch and profile.image in contents and contents[str(profile.image)].notna().any():
        found = _fetched(contents, str(profile.image), source, cache, on_picture, say)
    else:
        found = WithCreatives(contents=contents)
    return _with_earlier(found, history, out)


def _joined(
    contents: pd.DataFrame,
    profile: Profile,
    source: CreativeSource,
    key: str | None,
    cache: Path,
    on_picture: OnPicture,
    say: Say,
) -> WithCreatives:
    creatives = source.creatives
    if key is None or key not in contents or creatives is None:
        raise ConfigError(
            f"Creatives are joined by a field of the export, but the profile {profile.name} names "
            "none that this one has: say it with --creative-field."
        )
    if creatives.picture is not None and profile.image in contents:
        contents = contents.drop(columns=str(profile.image))
    joined = join_creatives(
        contents, key, creatives, cache, content_id=CONTENT_ID, impressions=IMPRESSIONS,
        keep_unmatched=True, limits=source.limits, on_picture=on_picture, say=say,
    )  # fmt: skip
    columns = CreativeColumns(
        text=creatives.text,
        categorical=creatives.categorical,
        numeric=creatives.numeric,
        image=creatives.picture,
    )
    return WithCreatives(
        contents=joined.contents,
        columns=columns,
        images=joined.images,
        pictures=joined.pictures,
        unmatched=joined.unmatched(),
    )


def _fetched(
    contents: pd.DataFrame,
    image: str,
    source: CreativeSource,
    cache: Path,
    on_picture: OnPicture,
    say: Say,
) -> WithCreatives:
    """Pictures at the URLs that the export itself holds."""
    found = collect_pictures(
        contents[image], contents[CONTENT_ID], None, cache, limits=source.limits,
        on_picture=on_picture, say=say,
    )  # fmt: skip
    return WithCreatives(
        contents=contents.assign(**{image: found.names}),
        columns=CreativeColumns(image=image),
        images="images",
        pictures=found.files,
        unmatched=pd.DataFrame(
            [
                {
                    "what": "content without its picture",
                    "id": item.content_id,
                    "reason": item.reason,
                }
                for item in found.problems
            ],
            columns=["what", "id", "impressions", "reason"],
        ),
    )


def _with_earlier(found: WithCreatives, history: History, out: str | Path) -> WithCreatives:
    """Fill in what earlier imports knew of contents of which this one knows nothing."""
    if history.dataset is None:
        return found
    manifest, before = history.dataset.manifest, history.creatives
    if not before.names:
        return found
    if found.columns.names and found.columns != before:
        raise DatasetError(
            f"Creatives of the folder's earlier imports have {before.names}, but now they have "
            f"{found.columns.names}: give the same columns, or import all files anew."
        )
    if found.images not in (None, manifest.images):
        raise DatasetError(
            f"The folder's pictures lie in {manifest.images}, but these in {found.images}: import "
            "all files anew."
        )
    earlier = history.dataset.contents.set_index(CONTENT_ID)[before.names]
    contents = found.contents.set_index(CONTENT_ID)
    known = earlier.reindex(contents.index)
    for name in before.names:
        own = contents[name] if name in contents else pd.Series(None, index=contents.index)
        contents[name] = own.astype(object).where(own.notna(), known[name])
    pictures = dict(found.pictures)
    if before.image is not None and not storage.is_remote(str(manifest.images)):
        folder = Path(out) / str(manifest.images)
        there = earlier[before.image].dropna()
        pictures = {name: folder / name for name in there} | pictures
        named = set(contents[before.image].dropna())
        pictures = {name: path for name, path in pictures.items() if name in named}
    return WithCreatives(
        contents=contents.reset_index(),
        columns=before,
        images=manifest.images,
        pictures=pictures,
        unmatched=found.unmatched,
    )
