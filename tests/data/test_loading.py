"""Which contents meet in a step, and the threads that load them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.batch import Inputs
from ni_platform.data.content_keys import input_keys
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import (
    BatchSource,
    Loader,
    Request,
    divide,
    plan_batches,
    whole_groups,
)
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import ConfigError, DatasetError, ImageError


def batch_sets(steps: Sequence[Sequence[np.ndarray]]) -> list[set[int]]:
    """The contents of each step, whichever worker has them."""
    return [set(np.concatenate(shares).tolist()) for shares in steps]


GROUPS = np.array([0, 0, 0, 1, 1, 2, 2, -1, -1, 3, 3, 3, 3, 4, 4, -1, 5, 5, 5, 6, 6])


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_content_occurs_once_per_epoch(groups, workers):
    """The shares of all steps and workers are a partition, none is empty or too large."""
    steps = plan_batches(groups, 21, 6, workers, seed=3, epoch=1)
    shares = [share for step in steps for share in step]
    assert sorted(np.concatenate(shares).tolist()) == list(range(21))
    assert min(map(len, shares)) > 0
    assert max(sum(map(len, step)) for step in steps) <= 6
    assert {len(step) for step in steps} == {workers}


def test_batches_do_not_depend_on_the_number_of_workers():
    """The same contents meet in the same step with one, two or three workers."""
    plans = [plan_batches(GROUPS, 21, 8, workers, seed=0, epoch=4) for workers in (1, 2, 3)]
    assert batch_sets(plans[0]) == batch_sets(plans[1]) == batch_sets(plans[2])


def test_tests_stay_whole_on_one_worker():
    """All contents of an A/B test are in one share."""
    steps = plan_batches(GROUPS, 21, 8, 2, seed=0, epoch=0)
    for group in range(7):
        members = set(np.flatnonzero(group == GROUPS).tolist())
        homes = [s for step in steps for s in step if members & set(s.tolist())]
        assert len(homes) == 1
        assert members <= set(homes[0].tolist())


def test_a_test_larger_than_the_batch_is_cut_into_random_chunks():
    """A test of 10 in batches of 4 gives chunks that differ from epoch to epoch."""
    groups = np.zeros(10, dtype=np.int64)
    first, second = (plan_batches(groups, 10, 4, 1, seed=0, epoch=epoch) for epoch in (0, 1))
    assert [len(share) for step in first for share in step] == [4, 3, 3]
    assert sorted(map(sorted, batch_sets(first))) != sorted(map(sorted, batch_sets(second)))


def test_last_batch_is_not_a_remainder():
    """33 contents in batches of at most 32 are 17 and 16, not 32 and 1."""
    steps = plan_batches(None, 33, 32, 1, seed=0, epoch=0)
    assert [len(step[0]) for step in steps] == [17, 16]


def test_order_follows_seed_and_epoch():
    """The plan repeats for a seed and an epoch, and changes with either."""

    def plan(seed, epoch):
        steps = plan_batches(None, 50, 10, 1, seed=seed, epoch=epoch)
        return np.concatenate([step[0] for step in steps]).tolist()

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)
    unshuffled = plan_batches(None, 5, 2, 1, 0, 0, shuffle=False)
    assert [step[0].tolist() for step in unshuffled] == [[0, 1], [2, 3], [4]]


def test_too_few_contents_or_too_small_batches_are_refused():
    """Every worker needs a content in each step."""
    with pytest.raises(ConfigError, match="batch_size=2 is smaller than workers=3"):
        plan_batches(None, 10, 2, 3, 0, 0)
    with pytest.raises(DatasetError, match="1 contents to train on for 2 workers"):
        plan_batches(None, 1, 4, 2, 0, 0)


def test_units_are_divided_evenly_and_cut_only_if_they_must_be():
    """Sizes 4, 3, 2, 1 make two shares of 5; one unit of 5 makes shares of 3 and 2."""
    units = np.split(np.arange(10), [4, 7, 9])
    assert sorted(map(len, divide(units, 2))) == [5, 5]
    assert sorted(map(len, divide([np.arange(5)], 2))) == [2, 3]
    groups = np.array([7, -1, 7, 8, -1])
    assert [u.tolist() for u in whole_groups(np.arange(5), groups)] == [[0, 2], [3], [1], [4]]


class Encoder:
    """Records which thread encodes what; refuses one content."""

    def __init__(self, refuses: str | None = None) -> None:
        self.refuses = refuses
        self.threads: set[int] = set()
        self.encoded = 0
        self.draws: dict[str, float] = {}

    def encode(self, frame: pd.DataFrame, *, crop=None, rng=None) -> Inputs:
        """Encode nothing."""
        self.threads.add(threading.get_ident())
        self.encoded += len(frame)
        if self.refuses in set(frame["title"]):
            raise ImageError(f"{self.refuses} does not decode")
        if rng is not None:
            self.draws["+".join(frame["title"])] = float(rng.random())
        return Inputs(size=len(frame))


@pytest.fixture
def dataset() -> Dataset:
    """Twenty contents, the first ten in A/B tests of two."""
    contents = pd.DataFrame(
        {
            "id": [f"content-{i}" for i in range(20)],
            "test": [f"t{i // 2}" if i < 10 else None for i in range(20)],
            "title": [f"title {i}" for i in range(20)],
            "impressions": 100,
            "clicks": range(20),
        }
    )
    manifest = Manifest(
        name="twenty",
        columns=Columns(content_id="id", ab_test="test", text=("title",)),
        target=Target(impressions="impressions", clicks="clicks"),
        assignment="randomised",
    )
    return Dataset("nowhere", manifest, contents)


def test_loader_keeps_the_order_of_requests(dataset):
    """Batches come as they were asked for, with the outcomes of their rows."""
    source = BatchSource(dataset, Encoder())
    requests = [Request(rows=np.array([i, 19 - i])) for i in range(20)]
    batches = list(Loader(source, threads=4).iterate(requests))
    assert [batch.rows for batch in batches] == [(i, 19 - i) for i in range(20)]
    assert batches[3].outcomes.clicks_B.tolist() == [3.0, 16.0]
    assert batches[3].outcomes.success_rate_B.tolist() == pytest.approx([0.03, 0.16])
    assert batches[3].outcomes.ab_test_B.tolist() == [1, -1]
    assert batches[3].inputs.size == 2


def test_loader_runs_ahead_by_a_bounded_number_of_batches(dataset):
    """When one batch is taken, no more are loaded than threads plus one."""
    encoder = Encoder()
    batches = Loader(BatchSource(dataset, encoder), threads=2).iterate(
        [Request(rows=np.array([i])) for i in range(20)]
    )
    next(batches)
    batches.close()
    assert encoder.encoded <= 4
    assert threading.get_ident() not in encoder.threads


def test_error_names_the_content(dataset):
    """An error keeps its class and gets the id of the content that causes it."""
    source = BatchSource(dataset, Encoder(refuses="title 7"))
    batches = Loader(source, threads=2).iterate([Request(rows=np.arange(5, 10))])
    with pytest.raises(ImageError, match="content 'content-7': title 7 does not decode"):
        next(batches)


def test_crops_follow_the_seed_of_the_request(dataset):
    """The generator of a request depends on its seed, not on threads; no seed, no generator."""
    requests = [Request(rows=np.array([i]), seed=(1, i)) for i in range(20)]
    first, second = Encoder(), Encoder()
    list(Loader(BatchSource(dataset, first, crop=8), threads=1).iterate(requests))
    list(Loader(BatchSource(dataset, second, crop=8), threads=4).iterate(requests))
    assert first.draws == second.draws
    assert len(set(first.draws.values())) == 20
    list(Loader(BatchSource(dataset, first), threads=1).iterate([Request(rows=np.array([0]))]))
    assert len(first.draws) == 20


def test_equal_arms_of_a_test_are_pooled():
    """Counts add up on the first of them; other tests, other inputs and other rows stay."""
    frame = pd.DataFrame(
        {
            "id": list("abcdefg"),
            "test": ["t", "t", "t", "u", "u", None, None],
            "text": ["one", "two", "one", "one", "one", "one", "one"],
            "shown": [100, 10, 300, 20, 30, 5, 6],
            "clicked": [10, 1, 50, 2, 3, 1, 1],
        }
    )
    manifest = Manifest(
        name="d",
        columns=Columns(content_id="id", ab_test="test", text=("text",)),
        target=Target(impressions="shown", clicks="clicked"),
        assignment="randomised",
    )
    dataset = Dataset("memory", manifest, frame)
    source = BatchSource(dataset, Encoder())
    # Row 4 is not trained on: its counts stay apart.
    pooled, rows = source.pooled(np.array([0, 1, 2, 3, 5, 6]), input_keys(dataset, ["text"]))
    assert rows.tolist() == [0, 1, 3, 5, 6]
    outcomes = pooled.outcomes(np.array([0, 1, 3, 4, 5, 6]))
    assert outcomes.impressions_B.tolist() == [400, 10, 20, 30, 5, 6]
    assert outcomes.clicks_B.tolist() == [60, 1, 2, 3, 1, 1]
    assert outcomes.success_rate_B.tolist() == pytest.approx([0.15, 0.1, 0.1, 0.1, 0.2, 1 / 6])
    assert source.outcomes(np.array([0])).clicks_B.tolist() == [10]
