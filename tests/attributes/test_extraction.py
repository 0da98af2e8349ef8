"""The runner and its store: nothing is computed twice, nothing is lost."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ni_platform.data.attributes.extraction import run_extractor
from ni_platform.data.attributes.extractor import Unreadable
from ni_platform.data.attributes.store import FILE_NAME, AttributeStore
from ni_platform.errors import DatasetError, ImageError


@dataclass(frozen=True)
class Reversal:
    """Reverses texts, and writes down in a file what it was given; "bad" is unreadable."""

    log: Path
    version: str = "1"
    name: str = "reversal"

    def extract(self, items):
        """Reversed texts; None for an empty one."""
        with self.log.open("a") as file:
            file.writelines(f"{item.decode()}\n" for item in items)
        return [self._value(item.decode()) for item in items]

    def _value(self, text):
        if text == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return Unreadable("it is bad") if text == "bad" else text[::-1] or None


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    with AttributeStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def extractor(tmp_path):
    """A reversal that has computed nothing yet."""
    (tmp_path / "log").touch()
    return Reversal(tmp_path / "log")


def given(extractor) -> list[str]:
    """What the extractor was run on, sorted."""
    return sorted(extractor.log.read_text().split("\n")[:-1])


def read(item: str) -> bytes:
    """An item's own text before a colon; nothing lies behind "missing"."""
    if item == "missing":
        raise ImageError("missing does not exist")
    return item.partition(":")[0].encode()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_has_its_value_and_equal_bytes_are_computed_once(store, extractor, workers):
    """Values, nothing, and the reasons of unreadable ones; copies share one computation."""
    items = ["one", "two:a", "two:b", "", "bad", "missing", "three"]
    seen = []
    found = run_extractor(
        extractor, items, read, store, workers=workers, batch_size=2,
        on_item=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert found.values == {
        "one": "eno", "two:a": "owt", "two:b": "owt", "three": "eerht",
        "": None, "bad": None, "missing": None,
    }  # fmt: skip
    assert found.unreadable == {"bad": "it is bad", "missing": "missing does not exist"}
    assert (found.computed, found.from_store) == (5, 0)
    assert given(extractor) == ["", "bad", "one", "three", "two"]
    assert seen[-1] == (7, 7)


def test_a_second_run_computes_nothing_and_a_grown_one_only_what_is_new(store, extractor):
    """The extractor is not called again for what it was given, unreadable items included."""
    items = [f"item{i}" for i in range(200)] + ["bad"]
    first = run_extractor(extractor, items, read, store)
    assert len(given(extractor)) == 201
    extractor.log.write_text("")
    second = run_extractor(extractor, items, read, store)
    assert given(extractor) == []
    assert (second.computed, second.from_store) == (0, 201)
    assert (second.values, second.unreadable) == (first.values, first.unreadable)
    grown = run_extractor(extractor, [*items, "new", "newer"], read, store)
    assert given(extractor) == ["new", "newer"]
    assert (grown.computed, grown.from_store) == (2, 201)
    assert grown.values["newer"] == "rewen"


def test_another_version_or_extractor_computes_anew(store, extractor):
    """Values belong to the name and version of their extractor."""
    run_extractor(extractor, ["one"], read, store)
    for other in (Reversal(extractor.log, version="2"), Reversal(extractor.log, name="other")):
        assert run_extractor(other, ["one"], read, store).computed == 1
    assert given(extractor) == ["one"] * 3


def test_no_items_give_nothing(store, extractor):
    """An empty list is no error."""
    assert run_extractor(extractor, [], read, store).values == {}


def test_a_killed_worker_is_an_error_that_keeps_what_was_done(store, extractor):
    """Batches before the kill are stored, and the message says what to do."""
    items = [*(f"item{i}" for i in range(40)), "kill"]
    with pytest.raises(DatasetError, match=r"died.*--workers 1.*is kept"):
        run_extractor(extractor, items, read, store, workers=2, batch_size=1)
    kept = run_extractor(extractor, items[:-1], read, store)
    assert kept.from_store >= 1
    assert kept.values == {item: item[::-1] for item in items[:-1]}


def test_values_come_back_as_they_were(store, extractor):
    """Texts, nothing, reasons and every bit of a float32 vector survive the store."""
    vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
    values = {"a": "Größe ✓", "b": None, "c": Unreadable("why"), "d": vector, "e": ""}
    store.put(extractor, values)
    found = store.get(extractor, [*values, "unknown"])
    assert found.pop("d").tobytes() == vector.tobytes()
    assert found == {key: value for key, value in values.items() if key != "d"}


def test_processes_share_a_store(tmp_path, extractor):
    """Four processes that write and read at once, overlapping, leave every value right."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.attributes.test_extraction import *\n"
        "with AttributeStore(sys.argv[1]) as store:\n"
        "    items = [f'item{i}' for i in range(int(sys.argv[3]), int(sys.argv[3]) + 300)]\n"
        "    found = run_extractor(Reversal(Path(sys.argv[2])), items, read, store)\n"
        "assert found.values == {item: item[::-1] for item in items}\n"
    )
    folder = tmp_path / "shared"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, folder, extractor.log, str(100 * number)],
            cwd=Path(__file__).parents[2],
        )
        for number in range(4)
    ]
    assert [process.wait(240) for process in running] == [0] * 4
    with AttributeStore(folder) as store:
        digests = [hashlib.sha256(f"item{i}".encode()).hexdigest() for i in range(600)]
        found = store.get(extractor, digests)
    assert [found[digest] for digest in digests] == [f"item{i}"[::-1] for i in range(600)]


def test_a_damaged_store_says_what_to_do(tmp_path, extractor):
    """A file that is no database is named with the remedy, and is left as it is."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to look like one" * 30)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(DatasetError, match=r"values\.db cannot be used.*delete the file"):
        AttributeStore(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_store_in_a_place_that_cannot_be_written_says_so(tmp_path):
    """A file where the folder should be is an error with a remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="NI_HOME"):
        AttributeStore(tmp_path / "file")


def test_a_put_is_whole_or_not_at_all(store, extractor):
    """A value that cannot be stored keeps the others of its batch out as well."""
    with pytest.raises((DatasetError, sqlite3.Error, TypeError, ValueError)):
        store.put(extractor, {"a": "text", "b": object()})
    assert store.get(extractor, ["a", "b"]) == {}
