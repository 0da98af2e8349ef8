"""Train, validation and test parts that share no A/B test, picture or near-identical text.

Neural Insights, Section 6: 50 % for training, 10 % for validation, 40 % for test, and the test
part divided into contents of known domains and contents of domains held out as a whole.

Rows that must stay together form groups: the connected components over equal A/B tests, pictures
of equal bytes and near-identical texts (`near_duplicates`; the text of a row is all its text
columns in one). Where a group mixes domains, holding one of them out moves the whole group to the
test part: its rows of the held-out domain count as out-of-domain, the others as in-domain. Only
domains for which that leaves an in-domain test part are held out; `Splits.notes` says so when
there are none. Out-of-domain always means: the domain has no row in train or validation.
"""

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import nearest
from ni_platform.data.near_duplicates import components, near_duplicate_groups
from ni_platform.errors import DatasetError

PARTS = ("train", "validation", "in_domain", "out_of_domain")
LEFT_OUT = "left_out"
"""The part of contents that an experiment uses for nothing."""
TEST_PARTS = ("in_domain", "out_of_domain")
# Held-out domains leave at least this share of the test part to domains seen in training.
_LEAST_IN_DOMAIN = 0.1
# Held-out domains may overshoot their share by this factor, as they are taken whole.
_OVERSHOOT = 1.25


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Shares of rows; `train + validation + test` must be 1."""

    seed: int = 0
    train: float = 0.5
    validation: float = 0.1
    test: float = 0.4
    out_of_domain: float = 0.5
    """Share of the test part that consists of held-out domains, as near as whole domains allow."""
    near_duplicate_similarity: float = 0.7
    """Jaccard similarity of word sets from which texts count as near-identical, in (0, 1]."""

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise DatasetError(
                f"train + validation + test must be shares that add up to 1, but got {shares}: "
                "correct the split."
            )
        for name in ("out_of_domain", "near_duplicate_similarity"):
            if not 0 <= getattr(self, name) <= 1:
                raise DatasetError(f"{name} must lie in [0, 1], but got {getattr(self, name)}.")
        if self.near_duplicate_similarity == 0:
            raise DatasetError("near_duplicate_similarity must be above 0: 1 = equal word sets.")


@dataclass(frozen=True)
class Splits:
    """The part and the group of every row."""

    part: np.ndarray
    """str [N]: "train", "validation", "in_domain", "out_of_domain" or "left_out"."""
    group: np.ndarray
    """int64 [N]: rows of one group stay in one part, unless the owner's own split parts them."""
    notes: tuple[str, ...] = field(default=())
    """What a reader of the results should know."""
    validation_trained: bool = False
    """Whether validation rows became training rows, so that there need be none to validate on."""

    def rows(self, name: str) -> np.ndarray:
        """Row numbers (int64, ascending) of a part; "test" is in_domain and out_of_domain."""
        if name not in (*PARTS, "test"):
            raise DatasetError(f"There is no part {name!r}: choose one of {(*PARTS, 'test')}.")
        wanted = TEST_PARTS if name == "test" else (name,)
        return np.flatnonzero(np.isin(self.part, wanted))

    def without(self, left_out: np.ndarray) -> "Splits":
        """Splits whose parts lack the rows (bool [N]) that are left out of an experiment."""
        return replace(self, part=np.where(left_out, LEFT_OUT, self.part))

    def with_train_share(self, share: float, seed: int) -> "Splits":
        """Splits that leave out training groups, drawn by a seed, until a share of rows is left.

        A group goes where its middle row falls, but one stays at least. A smaller share of the
        same seed lies within a larger one.
        """
        train = self.rows("train")
        labels, inverse, counts = np.unique(
            self.group[train], return_inverse=True, return_counts=True
        )
        order = np.random.default_rng(seed).permutation(len(labels))
        middle = np.cumsum(counts[order]) - counts[order] / 2
        kept = np.zeros(len(labels), dtype=bool)
        kept[order[: max(1, np.searchsorted(middle, share * len(train), side="right"))]] = True
        left_out = np.zeros(len(self.part), dtype=bool)
        left_out[train] = ~kept[inverse]
        return self.without(left_out)

    def with_validation_trained(self) -> "Splits":
        """Splits whose validation rows are training rows: there is nothing left to choose by."""
        part = np.where(self.part == "validation", "train", self.part)
        return replace(self, part=part, validation_trained=True)

    def has(self, name: str) -> bool:
        """Whether the part has any rows."""
        return len(self.rows(name)) > 0

    @property
    def largest_group(self) -> int:
        """Rows of the largest group."""
        return int(np.unique(self.group, return_counts=True)[1].max())

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the parts in row order."""
        return hashlib.sha256("\n".join(self.part.tolist()).encode()).hexdigest()


def split_dataset(dataset: Dataset, config: SplitConfig) -> Splits:
    """Split by group, deterministic in the seed and independent of the order of the rows.

    The owner's split column, where the manifest declares one, decides instead; its test rows are
    out-of-domain where their domain has no row in train or validation. Raises `DatasetError` for
    an empty part and for values that the split column may not hold.
    """
    group = row_groups(dataset, config.near_duplicate_similarity)
    notes: tuple[str, ...] = ()
    if dataset.manifest.columns.split is not None:
        part = _owner_parts(dataset)
    else:
        group = _canonical(group, dataset.content_id, config.seed)
        part, notes = _drawn_parts(group, dataset.domain, config)
    splits = Splits(part=part, group=group, notes=notes)
    _check_parts(splits, dataset, config)
    return splits


def used(dataset: Dataset, splits: Splits | None) -> tuple[Dataset, Splits | None]:
    """The contents that an experiment uses and their parts: none that its splits leave out."""
    if splits is None or not (splits.part == LEFT_OUT).any():
        return dataset, splits
    kept = np.flatnonzero(splits.part != LEFT_OUT)
    contents = dataset.contents.iloc[kept]
    parts = replace(splits, part=splits.part[kept], group=splits.group[kept])
    return Dataset(dataset.root, dataset.manifest, contents), parts


def row_groups(dataset: Dataset, similarity: float) -> np.ndarray:
    """int64 [N]: the number of each row's group of rows that must stay together."""
    count = len(dataset)
    links: list[np.ndarray] = []
    nodes = count
    for labels in (
        _codes(dataset.ab_test),
        _codes(dataset.image_digests),
        near_duplicate_groups(_row_texts(dataset), similarity),
    ):
        if labels is not None:
            linked = np.flatnonzero(labels >= 0)
            links.append(np.column_stack([linked, nodes + labels[linked]]))
            nodes += int(labels.max(initial=-1)) + 1
    group = components(np.concatenate(links), nodes)[:count]
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _codes(values: pd.Series | None) -> np.ndarray | None:
    return None if values is None else pd.factorize(values)[0]


def _row_texts(dataset: Dataset) -> list[str]:
    # Without derived texts: reading the text in the pictures must not change the split, so that
    # runs with and without it are judged on the same contents.
    columns = list(dataset.manifest.given(dataset.manifest.columns.text))
    if not columns:
        return [""] * len(dataset)
    cells = dataset.contents[columns].astype(object)
    filled = cells.where(cells.notna(), "")
    return [" ".join(map(str, row)) for row in zip(*(filled[name] for name in columns))]


def _canonical(group: np.ndarray, content_id: pd.Series, seed: int) -> np.ndarray:
    """Number the groups in an order drawn by the seed that row order does not change."""
    first_id = content_id.astype(str).groupby(group).min()
    drawn = [_draw(seed, name) for name in first_id]
    number = np.empty(len(drawn), dtype=np.int64)
    number[np.argsort(drawn, kind="stable")] = np.arange(len(drawn))
    return number[group]


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\x1f{name}".encode()).hexdigest()


def _drawn_parts(
    group: np.ndarray, domain: pd.Series | None, config: SplitConfig
) -> tuple[np.ndarray, tuple[str, ...]]:
    held_out: list[str] = []
    notes: tuple[str, ...] = ()
    if domain is not None and config.test * config.out_of_domain > 0:
        held_out = _held_out_domains(group, domain, config)
        if not held_out:
            notes = (
                f"No domain of column {domain.name!r} could be held out for the out-of-domain "
                "test: each one, with the groups that it shares, would take too much of the data.",
            )
    part = np.full(len(group), "test", dtype="<U13")
    free = np.ones(len(group), dtype=bool)
    if domain is not None:
        free = ~np.isin(group, group[domain.isin(held_out)])
    part[free] = _by_position(group[free], np.array([config.train, config.validation]) * len(group))
    return _divided_test(part, domain if config.out_of_domain > 0 else None), notes


def _divided_test(part: np.ndarray, domain: pd.Series | None) -> np.ndarray:
    """Call test rows out-of-domain whose domain has no row in train or validation."""
    is_test = part == "test"
    unseen = np.zeros(len(part), dtype=bool)
    if domain is not None:
        unseen = np.asarray(domain.notna() & ~domain.isin(domain[~is_test].dropna().unique()))
    return np.where(is_test, np.where(unseen, "out_of_domain", "in_domain"), part)


def _by_position(group: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Part of each row: groups in order fill train, validation, then the test part.

    A group goes where its middle row falls, which no part gains from.
    """
    labels, inverse, counts = np.unique(group, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    names = np.array(["train", "validation", "test"])
    position = np.searchsorted(np.cumsum(sizes), middle, side="right")
    return names[position][inverse] if len(labels) else np.array([], dtype="<U13")


def _held_out_domains(group: np.ndarray, domain: pd.Series, config: SplitConfig) -> list[str]:
    """Domains in an order drawn by the seed, each taken if it fits beside those already taken."""
    known = domain.dropna()
    names = sorted(known.unique(), key=lambda name: _draw(config.seed, str(name)))
    rows_of = {name: np.flatnonzero(domain == name) for name in names}
    wanted = config.test * config.out_of_domain * len(group)
    most = config.test * max(config.out_of_domain, 1 - _LEAST_IN_DOMAIN) * len(group)
    group_sizes = np.bincount(group)
    taken: list[str] = []
    size, touched = 0, np.zeros(len(group_sizes), dtype=bool)

    def cost(name: str) -> tuple[int, np.ndarray]:
        now = touched.copy()
        now[group[rows_of[name]]] = True
        return int(group_sizes[now].sum()), now

    for name in names:
        total, now = cost(name)
        fits = size + len(rows_of[name]) <= wanted * _OVERSHOOT and total <= most
        if fits and size < wanted and len(taken) < len(names) - 1:
            taken.append(name)
            size, touched = size + len(rows_of[name]), now
    if not taken and len(names) > 1:
        smallest = min(names, key=lambda name: cost(name)[0])
        taken = [smallest] if cost(smallest)[0] <= most else []
    return taken


def _owner_parts(dataset: Dataset) -> np.ndarray:
    name = str(dataset.manifest.columns.split)
    given = dataset.contents[name].astype(object)
    allowed = ["train", "validation", "test"]
    wrong = given[~given.isin(allowed)]
    if len(wrong):
        value = wrong.iloc[0]
        raise DatasetError(
            f"The split column {name!r} must hold one of {allowed} in every row, but {len(wrong)} "
            f"rows do not, the first with {value!r}{nearest(str(value), allowed)}: correct them."
        )
    return _divided_test(given.to_numpy(dtype="<U13"), dataset.domain)


def _check_parts(splits: Splits, dataset: Dataset, config: SplitConfig) -> None:
    own = dataset.manifest.columns.split
    for name in ("train", "validation", "test"):
        if splits.has(name) or (own is None and getattr(config, name) == 0):
            continue
        if own is not None:
            raise DatasetError(
                f"The {name} part is empty: column {own!r} gives it no row. Add some, or remove "
                "columns.split from the manifest to have the split drawn."
            )
        groups = len(np.unique(splits.group))
        raise DatasetError(
            f"The {name} part is empty: the {len(dataset):,} rows form only {groups:,} groups that "
            f"must stay together (same A/B test, same picture or near-identical text), the largest "
            f"of {splits.largest_group:,} rows. Bring more A/B tests, raise "
            "near_duplicate_similarity where templated texts tie tests together, or change the "
            "shares."
        )
