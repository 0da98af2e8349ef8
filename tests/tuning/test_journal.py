"""The append-only account of a sweep."""

from __future__ import annotations

import pytest

from ni_platform.tuning.files import journal
from ni_platform.tuning.files.journal import Journal, TrialRecord, ranked, read_events, read_trials


def epoch(number: int, value: float, best: int, done: int = 1) -> journal.Event:
    """An epoch of a trial."""
    return journal.epoch_done(number, 100.0 + done, {"epoch": done, "rmse": value}, value, best)


def write(path, *events) -> None:
    """Append events to a journal as one driver would."""
    with Journal(path) as opened:
        for event in events:
            opened.append(event)


def test_trials_are_read_back(tmp_path):
    """Parameters, curve, times and reason; one that has not ended is running."""
    path = tmp_path / "journal.jsonl"
    write(
        path,
        journal.started(0, 1.5, {"rate": 0.1}, {"training.learning_rate": 0.1}),
        journal.started(1, 2.0, {}, {}),
        epoch(0, 0.5, 1),
        epoch(1, 0.7, 1),
        epoch(0, 0.5, 1, done=2),
        journal.ended(0, 9.0, "complete"),
        journal.started(2, 9.5, {}, {}),
        journal.ended(2, 9.75, "failed", "out of memory"),
    )
    trials = read_trials(path)
    assert trials[0] == TrialRecord(
        number=0,
        parameters={"rate": 0.1},
        overrides={"training.learning_rate": 0.1},
        started=1.5,
        status="complete",
        ended=9.0,
        epochs=[{"epoch": 1, "rmse": 0.5}, {"epoch": 2, "rmse": 0.5}],
        values=[0.5, 0.5],
        best_epoch=1,
    )
    assert trials[0].metrics == {"epoch": 1, "rmse": 0.5}
    assert (trials[1].status, trials[1].value, trials[1].ended) == ("running", 0.7, None)
    assert (trials[2].status, trials[2].reason) == ("failed", "out of memory")
    assert (trials[2].value, trials[2].metrics) == (None, {})
    assert read_trials(tmp_path / "none") == {}


def test_a_trial_that_begins_again_begins_anew(tmp_path):
    """The later account replaces the earlier one, but for what went on before."""
    path = tmp_path / "journal.jsonl"
    write(path, journal.started(4, 1.0, {"a": 1}, {}), epoch(4, 0.9, 1), epoch(4, 0.8, 2, done=2))
    write(path, journal.started(4, 5.0, {"a": 1}, {}, 1), epoch(4, 0.9, 1))
    trial = read_trials(path)[4]
    assert (trial.started, trial.values, trial.survived) == (5.0, [0.9], 1)


@pytest.mark.parametrize("torn", [b'{"event": "epo', b"{", b'{"event": "ended", "trial": 0}'])
def test_a_torn_last_line_is_no_event_and_is_cut_off(tmp_path, torn):
    """Readers pass over it, the next driver removes it and goes on behind the last whole line."""
    path = tmp_path / "journal.jsonl"
    first = journal.started(0, 1.0, {}, {})
    write(path, first)
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(torn)
    assert list(read_events(path)) == [(first, whole)]
    write(path, journal.ended(0, 2.0, "complete"))
    assert [event["event"] for event, _ in read_events(path)] == ["started", "ended"]
    assert path.read_bytes().count(b"\n") == 2


def test_a_journal_of_nothing_but_a_torn_line_is_empty(tmp_path):
    """As when the very first write was cut."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event"')
    write(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("extra", [0, 65_535, 65_536, 65_537, 200_000])
def test_the_last_whole_line_is_found_behind_a_long_torn_one(tmp_path, extra):
    """The end is searched in blocks of 64 KiB."""
    path = tmp_path / "journal.jsonl"
    first = journal.started(0, 1.0, {"text": "x" * 70_000}, {})
    write(path, first)
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"y" * extra)
    write(path)
    assert path.stat().st_size == whole
    assert [event for event, _ in read_events(path)] == [first]


def test_reading_goes_on_at_an_offset_while_the_journal_grows(tmp_path):
    """Each event comes once, and one only when it is whole."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as opened:
        opened.append(journal.started(0, 1.0, {}, {}))
        ((_, offset),) = read_events(path)
        assert list(read_events(path, offset)) == []
        opened.append(journal.started(1, 2.0, {}, {}))
        opened.append(journal.ended(1, 3.0, "failed", "no"))
        later = list(read_events(path, offset))
    kinds = [(event["event"], event["trial"]) for event, _ in later]
    assert kinds == [("started", 1), ("ended", 1)]
    assert later[-1][1] == path.stat().st_size
    assert offset < later[0][1] < later[1][1]


def test_trials_are_ranked_by_value_then_number():
    """Failed and running trials have no rank; a pruned one counts with its best."""

    def trial(number, status, values):
        return TrialRecord(
            number=number, parameters={}, overrides={}, started=0, status=status, values=values
        )

    trials = {
        each.number: each
        for each in (
            trial(0, "complete", [0.5, 0.4]),
            trial(1, "failed", [0.1]),
            trial(2, "running", [0.1]),
            trial(3, "pruned", [0.3]),
            trial(4, "complete", [0.3]),
            trial(5, "complete", []),
            trial(6, "complete", [0.0]),
        )
    }
    assert [t.number for t in ranked(trials, lower_is_better=True)] == [6, 3, 4, 0]
    assert [t.number for t in ranked(trials, lower_is_better=False)] == [0, 3, 4, 6]
