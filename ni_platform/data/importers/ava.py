"""Import of AVA: photographs with counts of ratings from 1 to 10, and semantic tags.

Murray, Marchesotti and Perronnin, "AVA: A large-scale database for aesthetic visual analysis",
CVPR 2012; used in M2FN Section 6.4.
"""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import check_free, write_dataset
from ni_platform.data.images import probe
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError

RATINGS = tuple(f"rating_{value}" for value in range(1, 11))
LEFT_OUT_FILE = "left_out.csv"
_TAGS = ("tag_1", "tag_2")
_NUMBERS = ("index", "image_id", *RATINGS, *_TAGS, "challenge")
_NO_TAG = 0
_SHOWN = 3
_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class AvaImport:
    """The dataset, and what is not in it."""

    dataset: Dataset
    left_out: Mapping[str, str]
    """Image id -> why its picture cannot be used."""


def import_ava(
    ratings: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    tags: str | Path | None = None,
    tags_as: Literal["text", "categorical"] = "text",
    max_missing: float = 0.01,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> AvaImport:
    """Write AVA as a dataset: pictures, names of their tags as text, ratings as target.

    A line of `ratings` (AVA.txt) holds 15 whole numbers: a row number, the image id, how many
    gave each rating from 1 to 10, two tag ids (0 for none) and the challenge. A line of `tags`
    (tags.txt) holds a tag id and its name. The picture of an id is `images/ID.jpg`; every one is
    decoded once, and `on_picture` is told how many are. The challenge stays in the table,
    undeclared, and so do tags without a tags file.

    With `tags_as` "text" the column `tags` holds both names for a text encoder, as in the paper;
    then pictures with equal tags are on one side of a split, as all equal texts are. With
    "categorical" the columns `tag_1` and `tag_2` are declared instead and tie nothing.

    Rows whose picture is missing or corrupt are left out and listed in `left_out.csv`.

    Raises:
        DatasetError: A line that cannot be read, an id that repeats, a tag without a name, more
            than the share `max_missing` of pictures that cannot be used, or a folder in use.
            Nothing is written then.

    """
    if not 0 <= max_missing <= 1:
        raise DatasetError(f"max_missing must be a share in [0, 1], but is {max_missing}.")
    check_free(out)
    if not os.path.isdir(images):
        raise DatasetError(f"The folder of pictures {images} does not exist: check the path.")
    table = _read_ratings(ratings)
    if tags is not None:
        table = _named(table, _read_tags(tags), ratings, tags)
    left_out = _unusable(table["image"], Path(images), on_picture)
    if len(left_out) > max_missing * len(table) or len(left_out) == len(table):
        sample = "; ".join(list(left_out.values())[:_SHOWN])
        raise DatasetError(
            f"At most {max_missing:.2%} of the pictures may be missing or corrupt, but "
            f"{len(left_out):,} of {len(table):,} are: {sample} Add the files, or allow more with "
            "--max-missing."
        )
    table = table[~table["content_id"].isin(list(left_out))].reset_index(drop=True)
    pictures = {name: Path(images) / name for name in table["image"]}
    dataset = write_dataset(out, _manifest(None if tags is None else tags_as), table, pictures)
    if left_out:
        place = storage.join(dataset.root, LEFT_OUT_FILE)
        storage.write_bytes(place, _as_csv(left_out))
    return AvaImport(dataset=dataset, left_out=left_out)


def _manifest(tags_as: str | None) -> Manifest:
    return Manifest(
        name="ava",
        description="Photographs with ratings from 1 to 10 (AVA, Murray et al. 2012).",
        images="images",
        columns=Columns(
            content_id="content_id",
            image="image",
            text=("tags",) if tags_as == "text" else (),
            categorical=_TAGS if tags_as == "categorical" else (),
        ),
        target=Target(ratings=RATINGS),
        assignment="observational",
        assignment_reason="Photographs were rated by those who chose to look at them.",
    )


def _read_ratings(path: str | Path) -> pd.DataFrame:
    rows: list[list[int]] = []
    line_of: dict[int, int] = {}
    for number, line in _lines(path):
        values = _whole_numbers(line)
        if len(values) != len(_NUMBERS):
            raise DatasetError(
                f"{path}:{number} must hold {len(_NUMBERS)} whole numbers of 0 or more (row, image "
                f"id, ten counts of ratings, two tags, challenge), but holds {line[:80]!r}: "
                "correct or remove the line."
            )
        if not any(values[2:12]):
            raise DatasetError(
                f"{path}:{number} must hold at least one rating, but image {values[1]} has none: "
                "remove the line."
            )
        first = line_of.setdefault(values[1], number)
        if first != number:
            raise DatasetError(
                f"Image ids must be unique, but {values[1]} stands in lines {first} and {number} "
                f"of {path}: remove one of them."
            )
        rows.append(values)
    if not rows:
        raise DatasetError(f"{path} has no lines: name the file AVA.txt of the archive.")
    table = pd.DataFrame(rows, columns=list(_NUMBERS)).drop(columns="index")
    ids = table.pop("image_id").astype(str).astype(object)
    table.insert(0, "content_id", ids)
    table.insert(1, "image", ids + ".jpg")
    return table


def _read_tags(path: str | Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, line in _lines(path):
        identifier, _, name = line.partition(" ")
        if not identifier.isdecimal() or not name.strip() or int(identifier) in names:
            raise DatasetError(
                f"{path}:{number} must hold a tag id that no other line has and its name, such as "
                f"'1 Abstract', but holds {line[:80]!r}: correct the line."
            )
        names[int(identifier)] = name.strip()
    return names


def _named(
    table: pd.DataFrame, names: Mapping[int, str], ratings: str | Path, tags: str | Path
) -> pd.DataFrame:
    """Put names in place of tag ids, null for none, and both as one text beside."""
    both = table[list(_TAGS)]
    unknown = sorted(set(both.to_numpy().ravel().tolist()) - {_NO_TAG, *names})
    if unknown:
        first = table["content_id"][both.isin(unknown).any(axis=1)].iloc[0]
        raise DatasetError(
            f"Every tag needs a name, but {ratings} uses the tags {unknown[:_SHOWN]}, which {tags} "
            f"does not list (first: image {first}): complete it."
        )
    named = {tag: both[tag].astype(object).map({**names, _NO_TAG: None}) for tag in _TAGS}
    texts = [
        ", ".join(dict.fromkeys(name for name in pair if isinstance(name, str))) or None
        for pair in zip(*named.values())
    ]
    return table.assign(**named, tags=pd.Series(texts, dtype=object, index=table.index))


def _unusable(
    names: pd.Series, folder: Path, on_picture: Callable[[int, int], None]
) -> dict[str, str]:
    """Image id -> problem, for pictures that do not decode."""
    found: dict[str, str] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(lambda name: probe(folder / name).problem, names)
        for done, (name, problem) in enumerate(zip(names, problems), start=1):
            if problem is not None:
                found[name.removesuffix(".jpg")] = problem
            on_picture(done, len(names))
    return found


def _lines(path: str | Path) -> Sequence[tuple[int, str]]:
    """Lines that are not empty, numbered from 1."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DatasetError(f"{path} cannot be read ({reason}): check the path.") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line]


def _whole_numbers(line: str) -> list[int]:
    """The numbers of a line, or none where a word of it is not one."""
    words = line.split()
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def _as_csv(left_out: Mapping[str, str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("content_id", "problem"))
    writer.writerows(left_out.items())
    return text.getvalue().encode()
