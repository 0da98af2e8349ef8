"""A user's own code: whatever it raises or returns is one message with its file and line."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ni_platform.cli.main import group
from ni_platform.data.checks import check_dataset
from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError, NiError
from ni_platform.experiment_config import list_experiments, load_experiment
from ni_platform.tables.paper_table import load_table
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.user_code import list_functions

HEAD = """
from dataclasses import replace
from experiments.neural_insights import quickstart
from ni_platform.tables.paper_table import Column, PaperTable, Row
from ni_platform.training.config import TrainingConfig
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """A few planted contents."""
    return make_synthetic(tmp_path_factory.mktemp("planted") / "data", tests=8, image_size=32)


def write(project: Path, file: str, text: str) -> int:
    """Write a file of definitions; returns the line that is marked by `# here`."""
    path = project / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))
    lines = path.read_text().splitlines()
    return next((n for n, line in enumerate(lines, start=1) if line.endswith("# here")), 0)


def run(*words: str) -> Result:
    """A command in this process; anything but an NiError is a defect that fails the test."""
    result = CliRunner().invoke(group, words)
    if result.exception and not isinstance(result.exception, NiError | SystemExit):
        raise result.exception
    return result


BROKEN = {
    "a bracket that nothing closes": ("x = (  # here\n", "SyntaxError: '(' was never closed"),
    "a missing package": ("import not_there  # here\n", "ModuleNotFoundError: No module named"),
    "a division by zero": ("x = 1 / 0  # here\n", "ZeroDivisionError: division by zero"),
    "an exit": ("import sys\nsys.exit(3)  # here\n", "SystemExit: 3"),
    "no end": ("def f():\n    f()  # here\nf()\n", "RecursionError: maximum recursion"),
    "a value that no config takes": (
        f"{HEAD}\nX = TrainingConfig(epochs=0)  # here\n",
        "training.epochs must be at least 1, but is 0",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("experiments", ["experiments"]),
        ("experiments", ["train", "neural_insights.quickstart", "--data", "d", "--print-config"]),
        ("experiments", ["table"]),
        ("tune_spaces", ["sweep", "spaces"]),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(project, folder, command, broken):
    """In every command that loads the folder."""
    text, words = BROKEN[broken]
    line = write(project, f"{folder}/broken_file.py", text)
    error = run(*command).exception
    assert isinstance(error, ConfigError)
    assert words in str(error)
    assert f"{folder}/broken_file.py:{line}" in str(error)
    assert "\n" not in str(error)


def test_bytes_that_are_no_text_are_told_by_the_file(project):
    """Neither UTF-8 nor a line that could be named."""
    write(project, "experiments/broken_file.py", "x = 1\n")
    (project / "experiments/broken_file.py").write_bytes(b"x = '\xff\xfe'\n")
    with pytest.raises(ConfigError, match=r"experiments/broken_file.py .*SyntaxError"):
        list_experiments()


def test_a_file_that_hides_the_folder_is_told(project):
    """A module of that name, as `tune_spaces.py` would be, is no folder."""
    with pytest.raises(
        ConfigError, match=r"colorsys is a folder of .*, but .*colorsys.py has .*rename"
    ):
        list_functions("colorsys")


def test_ctrl_c_stays_an_interrupt(project):
    """While a file is imported, and while a function runs."""
    write(project, "experiments/broken_file.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        list_experiments()
    write(project, "experiments/broken_file.py", "def one():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_experiment("broken_file.one")


def test_sigterm_in_a_users_code_stays_the_end_of_the_run(project, empty_database, monkeypatch):
    """It is not the user's code that exits: the run is KILLED, and the process ends with 143."""
    (project / "ni").mkdir()
    shutil.copy(empty_database, project / "ni/mlflow.db")
    monkeypatch.setenv("NI_HOME", str(project / "ni"))
    write(
        project,
        "experiments/own_file.py",
        "import os, signal, time\n"
        "def one():\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n",
    )
    with pytest.raises(SystemExit) as ended, RunRecord.start(open_store(), "planted") as run:
        load_experiment("own_file.one")
    assert ended.value.code == 143
    assert read_run(open_store(), run.run_id).status == "KILLED"


EXPERIMENTS = {
    "return 1 / 0  # here": "must not end in an error, but it raised ZeroDivisionError",
    "raise SystemExit('no')  # here": "it raised SystemExit: no",
    "return replace(quickstart(), traning=3)  # here": "TypeError: .*'traning'",
    "return open('not-there')  # here": "FileNotFoundError",
    "return TrainingConfig(warmup=2.0)  # here": r"training.warmup must be .* but is 2.0 \(",
}
RETURNS = {
    "pass": "must return an ExperimentConfig, but returned None",
    "yield quickstart()": "must return an ExperimentConfig, but returned <generator",
    "class X:\n        def __repr__(self): return 1 / 0\n    return X()": "returned <X instance at",
    "return quickstart": "must return an ExperimentConfig, but returned <function",
    "return replace(quickstart(), min_impressions='6')": "min_impressions does not fit: .*'6'",
    "return replace(quickstart(), training=TrainingConfig(epochs=2.5))": "training.epochs .*2.5",
    "return replace(quickstart(), training=TrainingConfig(clip_norm=float('inf')))": (
        "training.clip_norm must be a finite number, but is inf"
    ),
    "return replace(quickstart(), leave_out=(object(),))": "plain values: Object of type object",
    "return replace(quickstart(), name='.x')": "must have a name such as 'file.function', .*'.x'",
    "return replace(quickstart(), name='x' * 201)": "at most 200 bytes",
    "return replace(quickstart(), name='日' * 67)": "at most 200 bytes",
    r"return replace(quickstart(), name='a\ud800')": "of one line",
}


@pytest.mark.parametrize("body", EXPERIMENTS)
def test_an_experiment_that_raises_is_named_with_the_line(project, body):
    """The deepest line of the user's own file."""
    line = write(project, "experiments/own_file.py", f"{HEAD}\ndef one():\n    {body}\n")
    with pytest.raises(ConfigError, match=EXPERIMENTS[body]) as caught:
        load_experiment("own_file.one")
    assert f"experiments/own_file.py:{line}" in str(caught.value)
    assert "the experiment own_file.one" in str(caught.value)


@pytest.mark.parametrize("body", RETURNS)
def test_an_experiment_that_returns_something_else_is_named(project, body):
    """With the line where it begins: file, function, rule and value."""
    line = write(project, "experiments/own_file.py", f"{HEAD}\ndef one():  # here\n    {body}\n")
    with pytest.raises(ConfigError, match=RETURNS[body]) as caught:
        load_experiment("own_file.one")
    assert "the experiment own_file.one" in str(caught.value)
    assert f"experiments/own_file.py:{line}" in str(caught.value)


def test_a_helper_with_arguments_is_no_experiment(project):
    """It is called without any."""
    line = write(project, "experiments/own_file.py", "def sized(size):  # here\n    return size\n")
    with pytest.raises(ConfigError, match=r"missing a required argument: 'size'; .* with _") as e:
        load_experiment("own_file.sized")
    assert f"experiments/own_file.py:{line}" in str(e.value)


GOOD = "Row(label='a', config=quickstart())"
COLUMN = "Column(title='r', metric='test/rmse')"
TABLES = {
    "return None": "must return a PaperTable, but returned None",
    f"return table([{COLUMN}], [{GOOD}])": "must have Columns in a tuple",
    f"return table(({COLUMN},), ())": "must have Rows in a tuple",
    f"return table(({COLUMN},), ({GOOD}, {GOOD}))": "its rows must have different labels",
    f"return table(({COLUMN}, {COLUMN}), ({GOOD},))": "its columns must have different titles",
    f"return table(({COLUMN},), (Row(label='b c', config=quickstart()), "
    "Row(group='b', label='c', config=quickstart())))": "rows must have different labels",
    f"return table(({COLUMN},), (Row(label='a', config=None),))": "must return an ExperimentConfig",
    f"return table(({COLUMN},), (Row(label='x' * 201, config=quickstart()),))": "1 to 200 char",
    f"return table((Column(title='r', metric='tset/rmse'),), ({GOOD},))": "but 'tset/rmse'",
    f"return table((Column(title='r', metric='test/rms'),), ({GOOD},))": "did you mean 'rmse'",
    f"return table((Column(title='r', metric='test/rmse', relative_to='z'),), ({GOOD},))": (
        "with the row 'z', which each group of rows must have, but '' has none"
    ),
    f"return table((Column(title='r', metric='insight/text'),), ({GOOD},))": "needs a method",
    "return 1 / 0": "must not end in an error, but it raised ZeroDivisionError",
}


@pytest.mark.parametrize("body", TABLES)
def test_a_table_that_cannot_be_measured_is_refused_before_its_rows(project, dataset, body):
    """Not after the hours that its rows take."""
    line = write(
        project,
        "experiments/own_tables.py",
        f"{HEAD}\ndef _make(columns, rows):\n"
        "    return PaperTable(name='own.one', title='t', columns=columns, rows=rows)\n\n"
        f"def one(dataset, base):  # here\n    {body.replace('table(', '_make(')}\n",
    )
    with pytest.raises(ConfigError, match=TABLES[body]) as caught:
        load_table("own.one", dataset)
    found = re.search(r"experiments/own_tables.py:(\d+)", str(caught.value))
    assert int(found.group(1)) in (line, line + 1)


SUITE = """
import great_expectations as gx
def applies(dataset, splits):
    return True
def table(dataset, splits):
    return dataset.contents
def suite(dataset):
    return gx.ExpectationSuite(name="own", expectations=[
        gx.expectations.ExpectColumnValuesToNotBeNull(column="slogan", description="Given.")])
"""
SUITES = {
    "def applies(dataset, splits):\n    dataset.nothing  # here": "raised AttributeError",
    "def applies(dataset, splits):  # here\n    pass": "must return True or False, .* None",
    "def applies(dataset):  # here\n    return True": "its own do not fit: too many positional",
    "def table(dataset, splits):  # here\n    return [1]": r"a DataFrame .* returned \[1\]",
    "def table(dataset, splits):\n    return dataset.contents['nope']  # here": "KeyError: 'nope'",
    "def table(dataset, splits):  # here\n    t = dataset.contents\n"
    "    return t.set_axis(['x'] * len(t.columns), axis=1)": "different names, but two are 'x'",
    "def suite(dataset):  # here\n    return []": r"must return an ExpectationSuite, .*\[\]",
    "def suite(dataset):\n    exit()  # here": "SystemExit: None",
}


@pytest.mark.parametrize("change", SUITES)
def test_a_data_check_that_fails_is_named_with_the_line(project, dataset, change):
    """Suites of the user's folder are run beside the installed ones."""
    line = write(project, "data_checks/a_own_suite.py", f"{SUITE}\n{change}\n")
    with pytest.raises(ConfigError, match=SUITES[change]) as caught:
        check_dataset(dataset, None, docs_folder=None)
    assert f"data_checks/a_own_suite.py:{line}" in str(caught.value)
    assert "the suite a_own_suite." in str(caught.value)


def test_data_check_runs_the_users_own_suites(project, dataset):
    """`ni data check` finds those of the current folder, as `ni train` does."""
    write(project, "data_checks/own_suite.py", SUITE)
    assert "own_suite" in run("data", "check", dataset.root).output
    line = write(project, "data_checks/zz_broken_suite.py", "x = 1 / 0  # here\n")
    error = run("data", "check", dataset.root).exception
    assert f"data_checks/zz_broken_suite.py:{line}" in str(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], "workers must be at least 1, but are 0"),
        (["--workers", "-2"], "workers must be at least 1, but are -2"),
        (["--workers", "1", "--cpus-per-worker", "0"], "CPUs of a worker must be at least 1"),
        (["--set", "training.epochs=0"], "training.epochs must be at least 1, but is 0"),
        (
            ["--set", "training.seed=-1"],
            "training.seed must be a whole number from 0 to 4294967295",
        ),
        (["--set", "training.warmup=NaN"], "training.warmup must be .* but is nan"),
        (["--set", "training.clip_norm=Infinity"], "clip_norm must be a finite number"),
    ],
)
def test_options_that_train_nothing_are_refused_before_anything(project, options, words):
    """No worker at all is not taken for one."""
    error = run("train", "neural_insights.quickstart", "--data", "none", *options).exception
    assert isinstance(error, ConfigError)
    assert re.search(words, str(error))
