"""The log of a sweep: one file, which Optuna reads and a crash does not spoil."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ni_platform.errors import ConfigError
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.log_file import LogFile
from ni_platform.tuning.files.trial_log import TrialLog, TrialRecord, ranked, read_trials
from tests.tuning.sweeps import append, trial_events


@pytest.fixture
def folder(tmp_path) -> SweepFolder:
    """An empty folder of a sweep."""
    return SweepFolder(path=tmp_path)


def as_optuna_reads(folder: SweepFolder) -> list[optuna.trial.FrozenTrial]:
    """The trials by Optuna's own backend."""
    storage = JournalStorage(JournalFileBackend(str(folder.log)))
    return optuna.load_study(study_name="planted", storage=storage).trials


def planted() -> list[dict]:
    """Three trials, the second of which runs, and whose events are mixed."""
    first = trial_events(
        0, [0.5, 0.7], parameters={"x": 0.1}, overrides={"training.learning_rate": 0.1}, begun=1.5
    )
    second = trial_events(1, [0.7], begun=2.0)[:-1]
    third = trial_events(2, [], status="failed", reason="out of memory", begun=9.5, seconds=0.25)
    return [first[0], *second, *first[1:], *third]


def test_trials_are_read_back(folder):
    """Parameters, curve, times and reason; one that has not ended is running."""
    append(folder, planted())
    trials = read_trials(folder.log)
    assert trials[0] == TrialRecord(
        number=0,
        parameters={"x": 0.1},
        overrides={"training.learning_rate": 0.1},
        started=1.5,
        reached=2,
        status="complete",
        ended=11.5,
        epochs=[
            {"epoch": 1, "train_loss": 1.0, "rmse": 0.5},
            {"epoch": 2, "train_loss": 0.5, "rmse": 0.7},
        ],
        values=[0.5, 0.5],
        times=[2.5, 3.5],
        best_epoch=1,
    )
    assert trials[0].metrics["rmse"] == 0.5
    assert (trials[1].status, trials[1].value, trials[1].ended) == ("running", 0.7, None)
    assert (trials[2].status, trials[2].reason) == ("failed", "out of memory")
    assert (trials[2].value, trials[2].metrics) == (None, {})
    assert read_trials(folder.path / "none") == {}


def test_optuna_reads_the_same(folder):
    """States, values, curves and parameters."""
    append(folder, planted())
    complete, running, failed = as_optuna_reads(folder)
    assert (complete.state, complete.value, complete.params) == (
        TrialState.COMPLETE,
        0.5,
        {"x": 0.1},
    )
    assert complete.intermediate_values == {1: 0.5, 2: 0.5}
    assert (running.state, running.intermediate_values) == (TrialState.RUNNING, {1: 0.7})
    assert (failed.state, failed.user_attrs["ni.reason"]) == (TrialState.FAIL, "out of memory")


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_a_study_keeps_its_direction(folder, lower_is_better):
    """Optuna's best trial is ours; a pruned one has its last value and is not the best."""
    events = [*trial_events(0, [0.5]), *trial_events(1, [0.6], status="pruned")]
    append(folder, events + trial_events(2, [0.4]), lower_is_better)
    storage = JournalStorage(JournalFileBackend(str(folder.log)))
    study = optuna.load_study(study_name="planted", storage=storage)
    assert study.best_trial.number == (2 if lower_is_better else 0)
    assert study.trials[1].value == 0.6


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_complete_trial_without_a_finite_objective_has_failed(folder, value):
    """And the log says why."""
    append(folder, trial_events(0, [] if value is None else [value]))
    trial = read_trials(folder.log)[0]
    assert (trial.status, trial.value) == ("failed", None)
    assert trial.reason == f"its objective is {value}"
    assert as_optuna_reads(folder)[0].state == TrialState.FAIL


def test_a_trial_that_begins_again_begins_anew(folder):
    """The later attempt replaces the earlier one, which knew how far it came."""
    attempt = trial_events(0, [0.9, 0.8, 0.7])
    append(folder, attempt[:3])
    append(folder, [event | {"time": event["time"] + 50} for event in attempt[:2]])
    trial = read_trials(folder.log)[0]
    assert (trial.started, trial.values, trial.times) == (50.0, [0.9], [51.0])
    assert (trial.attempt, trial.reached) == (2, 2)
    # It ends before it came as far as before: what the first attempt reached is not its own.
    append(folder, [attempt[-1] | {"status": "pruned"}])
    assert read_trials(folder.log)[0].values == [0.9]


def test_a_trial_ends_once(folder):
    """An end is not taken twice."""
    append(folder, trial_events(0, [0.5]))
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        append(folder, trial_events(0, [0.5])[-1:])


def test_a_trial_that_was_suggested_and_not_begun_is_none_yet(folder):
    """Whoever keeps the sweep begins it; reports do not know it."""
    log = TrialLog(folder.log, name="planted", lower_is_better=True)
    log.study.ask()
    assert list(log.trials()) == []
    log.close()
    assert read_trials(folder.log) == {}


@pytest.mark.parametrize("torn", [b'{"op_code":4,"wor', b"{", b"{}", b"\xff" * 200_000])
def test_a_torn_last_line_is_never_read_and_is_cut_off(folder, torn):
    """Readers pass over it, the next keeper removes it and goes on behind the last whole line."""
    append(folder, planted())
    whole, trials = folder.log.read_bytes(), read_trials(folder.log)
    folder.log.write_bytes(whole + torn)
    assert read_trials(folder.log) == trials
    append(folder, trial_events(3, [0.1]))
    assert folder.log.read_bytes().startswith(whole + b"{")
    assert len(as_optuna_reads(folder)) == 4


@pytest.mark.parametrize("extra", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_the_last_whole_line_is_found_behind_a_long_torn_one(folder, extra):
    """The end is searched in blocks of 64 KiB."""
    whole = b'{"op_code":0,"text":"' + b"x" * 70_000 + b'"}\n'
    folder.log.write_bytes(whole + b"y" * extra)
    log = LogFile(folder.log, writable=True)
    log.append_logs([{"op_code": 1}])
    log.close()
    assert folder.log.read_bytes() == whole + b'{"op_code":1}\n'


def test_a_file_that_is_no_log_is_left_as_it_is(folder):
    """Also one without any line break, which could be a line that was cut off."""
    for content in (b"my notes", b'my notes\n{"half'):
        folder.log.write_bytes(content)
        with pytest.raises(ConfigError, match=r"move that file away|is b'my notes"):
            TrialLog(folder.log, name="s", lower_is_better=True)
        assert folder.log.read_bytes() == content


def test_a_log_of_nothing_but_a_torn_line_begins_anew(folder):
    """As when the very first write was cut."""
    folder.log.write_bytes(b'{"op_code":0,"study_na')
    append(folder, trial_events(0, [0.5]))
    assert len(read_trials(folder.log)) == 1


def test_a_reader_sees_what_the_writer_has_added(folder):
    """Also what another program of Optuna's added, such as a note."""
    log = TrialLog(folder.log, name="planted", lower_is_better=True)
    log.study.ask()
    reader = JournalStorage(LogFile(folder.log))
    assert len(reader.get_all_trials(0)) == 1
    log.study.ask()
    assert len(reader.get_all_trials(0)) == 2
    other = JournalStorage(JournalFileBackend(str(folder.log)))
    optuna.load_study(study_name="planted", storage=other).set_user_attr("note", "mine")
    assert log.study.user_attrs == {"note": "mine"}
    log.study.ask()
    assert [trial.number for trial in reader.get_all_trials(0)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trial,value\n0,1.0\n", "line 1 of .*study.log is b'trial,value"),
        ('{"event": "started"}\n', "a journal of Optuna's, but .*study.log is not"),
    ],
)
def test_another_file_is_no_log(folder, text, words):
    """Reading and writing say so, and leave it as it is."""
    folder.log.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_trials(folder.log)
    with pytest.raises(ConfigError, match=words):
        TrialLog(folder.log, name="planted", lower_is_better=True)
    assert folder.log.read_text() == text


def test_a_damaged_line_is_told_with_its_number(folder):
    """In the middle of the file, where nothing tore it."""
    append(folder, planted())
    lines = folder.log.read_text().splitlines(keepends=True)
    folder.log.write_text("".join([*lines[:5], lines[5][9:], *lines[6:]]))
    with pytest.raises(ConfigError, match=r"but line 6 of .*restore the file"):
        read_trials(folder.log)


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
