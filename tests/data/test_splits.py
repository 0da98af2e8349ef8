import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.splits import PARTS, SplitConfig, row_groups, split_dataset
from ni_platform.errors import DatasetError

TARGET = Target(impressions="shown", clicks="clicked")
# Words that no two texts share, so that texts tie no rows together by chance.
TESTS, ARMS = 120, 3


def dataset_of(frame, **columns):
    """A dataset in memory, with an id and counts added."""
    frame = frame.assign(shown=100, clicked=1)
    if "id" not in frame:
        frame = frame.assign(id=[f"c{i}" for i in range(len(frame))])
    manifest = Manifest(
        name="x",
        columns=Columns(content_id="id", **columns),
        target=TARGET,
        assignment="randomised" if "ab_test" in columns else None,
    )
    return Dataset("memory", manifest, frame)


def ab_tests(domains=None):
    """120 A/B tests of 3 contents each, every text its own; a domain per test if given."""
    test = np.repeat(np.arange(TESTS), ARMS)
    frame = pd.DataFrame({"test": [f"t{i}" for i in test]})
    frame["title"] = [f"title number {i}" for i in range(len(frame))]
    if domains is not None:
        frame["domain"] = [domains[i % len(domains)] for i in test]
    return frame


def parts_of(dataset, **config):
    """The split of a dataset."""
    return split_dataset(dataset, SplitConfig(**config))


def test_shares_are_those_of_the_paper():
    """50, 10 and 40 percent of the rows, exact to one A/B test, and every row in one part."""
    splits = parts_of(dataset_of(ab_tests(), ab_test="test", text=("title",)))
    sizes = {name: len(splits.rows(name)) for name in PARTS}
    assert sum(sizes.values()) == TESTS * ARMS
    assert abs(sizes["train"] - 180) <= ARMS
    assert abs(sizes["validation"] - 36) <= ARMS
    assert abs(sizes["in_domain"] - 144) <= ARMS
    assert not splits.has("out_of_domain")
    assert np.array_equal(splits.rows("test"), splits.rows("in_domain"))


def test_no_ab_test_is_on_two_sides():
    """All arms of an A/B test are in one part and one group."""
    dataset = dataset_of(ab_tests(), ab_test="test", text=("title",))
    splits = parts_of(dataset)
    frame = pd.DataFrame({"test": dataset.ab_test, "part": splits.part, "group": splits.group})
    assert len(frame.drop_duplicates()) == TESTS
    assert frame["group"].nunique() == TESTS


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    """The same seed gives the same part per id in any row order; another seed another split."""
    frame = ab_tests(["a", "b", "c", "d", "e", "f"]).assign(id=lambda f: [f"c{i}" for i in f.index])
    columns = {"ab_test": "test", "text": ("title",), "domain": "domain"}
    dataset = dataset_of(frame, **columns)
    shuffled = dataset_of(frame.sample(frac=1, random_state=3), **columns)
    first, second = parts_of(dataset, seed=5), parts_of(shuffled, seed=5)
    by_id = pd.Series(first.part, index=dataset.content_id)
    assert by_id[shuffled.content_id].tolist() == second.part.tolist()
    assert parts_of(dataset, seed=5).fingerprint() == first.fingerprint()
    assert parts_of(dataset, seed=6).fingerprint() != first.fingerprint()


def test_contents_without_a_test_are_groups_of_their_own():
    """A null A/B test ties nothing together."""
    frame = pd.DataFrame({"test": [None] * 40 + ["t"] * 2})
    groups = row_groups(dataset_of(frame, ab_test="test"), 0.7)
    assert len(np.unique(groups)) == 41
    assert groups[40] == groups[41]


def test_near_identical_texts_and_identical_pictures_stay_together(tmp_path, pictures):
    """Rows joined by text, picture or test through others form one group, the rest do not."""
    long = "this simple trick will save your whole family hours every single week"
    Image.new("RGB", (8, 8), "red").save(tmp_path / "again.png")
    frame = pd.DataFrame(
        {
            "id": list("abcdef"),
            "test": ["t1", "t2", "t2", None, None, None],
            "title": [long, long.replace("hours", "days"), "two", "three", "four", None],
            "image": [None, None, "1.png", "2.png", "3.png", None],
            "shown": 10,
            "clicked": 1,
        }
    )
    columns = Columns(content_id="id", ab_test="test", text=("title",), image="image")
    manifest = Manifest(
        name="x", images="images", columns=columns, target=TARGET, assignment="randomised"
    )
    files = {
        "1.png": pictures / "a.png",
        "2.png": tmp_path / "again.png",
        "3.png": pictures / "b.png",
    }
    dataset = write_dataset(tmp_path / "data", manifest, frame, files)
    groups = row_groups(dataset, 0.7)
    # a~b by text, b~c by test, c~d by picture; e and f are alone.
    assert len(set(groups[:4])) == 1
    assert len(np.unique(groups)) == 3


def test_held_out_domains_are_never_trained_on():
    """Out-of-domain rows are whole domains, near the wanted fifth of all rows."""
    names = [f"d{i}" for i in range(10)]
    dataset = dataset_of(ab_tests(names), ab_test="test", text=("title",), domain="domain")
    splits = parts_of(dataset)
    domain = dataset.domain
    held_out = set(domain[splits.rows("out_of_domain")])
    assert len(held_out) == 2
    assert held_out.isdisjoint(domain[splits.part != "out_of_domain"])
    assert len(splits.rows("out_of_domain")) == 72
    assert abs(len(splits.rows("in_domain")) - 72) <= ARMS
    assert abs(len(splits.rows("train")) - 180) <= ARMS


def test_a_group_that_mixes_domains_goes_to_test_as_a_whole():
    """Its rows of the held-out domain are out-of-domain, the others in-domain, none trained on."""
    frame = ab_tests([f"d{i}" for i in range(8)])
    frame.loc[0::30, "domain"] = "d3"
    dataset = dataset_of(frame, ab_test="test", text=("title",), domain="domain")
    for seed in range(6):
        splits = parts_of(dataset, seed=seed)
        held_out = set(dataset.domain[splits.rows("out_of_domain")])
        assert held_out
        touched = dataset.ab_test[dataset.domain.isin(held_out)]
        test_rows = np.isin(splits.part, ["in_domain", "out_of_domain"])
        assert test_rows[dataset.ab_test.isin(touched)].all()
        assert not dataset.domain[~test_rows].isin(held_out).any()


def test_domains_that_cannot_be_held_out_are_noted():
    """When every A/B test has all domains, there is no out-of-domain part, and a note says why."""
    frame = ab_tests().assign(domain=["a", "b", "c"] * TESTS)
    splits = parts_of(dataset_of(frame, ab_test="test", text=("title",), domain="domain"))
    assert not splits.has("out_of_domain")
    assert "could be held out" in splits.notes[0]
    assert abs(len(splits.rows("in_domain")) - 144) <= ARMS


def test_the_owners_split_is_honoured():
    """Given parts are kept; test rows of a domain that training never saw are out-of-domain."""
    frame = pd.DataFrame(
        {
            "split": ["train", "test", "validation", "test", "train"],
            "domain": ["a", "b", "a", "a", None],
        }
    )
    splits = parts_of(dataset_of(frame, split="split", domain="domain"))
    assert splits.part.tolist() == ["train", "out_of_domain", "validation", "in_domain", "train"]


def test_a_wrong_value_in_the_owners_split_is_named():
    """The message gives column, value and the allowed words."""
    frame = pd.DataFrame({"split": ["train", "valid", None]})
    with pytest.raises(DatasetError, match=r"'split'.*2 rows.*'valid'.*did you mean 'validation'"):
        parts_of(dataset_of(frame, split="split"))


def test_an_empty_part_is_an_error_with_the_reason():
    """One picture, text or test over everything leaves nothing to split, and that is said."""
    together = pd.DataFrame({"title": ["the very same text"] * 50})
    with pytest.raises(DatasetError, match=r"part is empty: the 50 rows form only 1 groups.*of 50"):
        parts_of(dataset_of(together, text=("title",)))
    owned = pd.DataFrame({"split": ["train", "test"]})
    with pytest.raises(DatasetError, match="validation part is empty: column 'split'"):
        parts_of(dataset_of(owned, split="split"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"train": 0.9}, "add up to 1"),
        ({"train": -0.1, "test": 1.0}, "add up to 1"),
        ({"out_of_domain": 1.5}, "out_of_domain"),
        ({"near_duplicate_similarity": 0.0}, "above 0"),
    ],
)
def test_impossible_shares_are_refused(config, words):
    """Shares that cannot be are a DatasetError with the values."""
    with pytest.raises(DatasetError, match=words):
        SplitConfig(**config)


def test_an_unknown_part_is_refused():
    """Asking for rows of a part that does not exist lists the parts."""
    splits = parts_of(dataset_of(ab_tests(), ab_test="test"))
    with pytest.raises(DatasetError, match="no part 'dev'"):
        splits.rows("dev")
