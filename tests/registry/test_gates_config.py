"""`gates.yaml`: which gates are on, their thresholds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ni_platform.errors import ConfigError
from ni_platform.registry.gates_config import (
    FILE_NAME,
    BetterThanChampion,
    GatesConfig,
    Latency,
    Size,
    gates_in_use,
)

EXAMPLE = Path(__file__).parents[2] / "infra" / FILE_NAME
PRESENT = ["data_checks_passed", "evaluated_on_unseen_test", "better_than_champion"]


def load(folder: Path, text: str) -> GatesConfig:
    """The gates of a file with that text."""
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return GatesConfig.load(file)


def test_without_a_file_the_three_first_gates_are_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was before there were files."""
    monkeypatch.chdir(tmp_path)
    config, file = gates_in_use()
    assert file is None
    assert list(config.on) == PRESENT
    assert config.better_than_champion == BetterThanChampion(margin=0)
    assert config.off[-2:] == ("latency", "size")


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    """True is on with the defaults, false is off, a mapping changes what it names of a gate."""
    config = load(tmp_path, "better_than_champion: false\nsize: true\nlatency: {one_ms: 20}\n")
    assert list(config.on) == [*PRESENT[:2], "latency", "size"]
    assert config.latency == Latency(one_ms=20, hundred_ms=Latency().hundred_ms)
    assert config.size == Size()
    assert "better_than_champion" in config.off


def test_a_mapping_without_thresholds_is_on(tmp_path: Path) -> None:
    """Also of a gate that has none; a file that names no gate changes nothing."""
    assert load(tmp_path, "data_checks_passed: {}\nsize: {}").size == Size()
    assert load(tmp_path, "{}") == GatesConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "mapping of gates, but it holds nothing: write a line such as `size: true`"),
        ("# none\n", "but it holds nothing"),
        ("[latency]", "mapping of gates, but it holds ['latency']"),
        ("latency: [", "is not valid YAML"),
        ("latency: true\nlatency: false", "is not valid YAML: 'latency' is given twice"),
        ("size: {megabytes: 1, megabytes: 2}", "'megabytes' is given twice"),
        ("latncy: true", "latncy is not a known key (did you mean 'latency'?); known are data_"),
        ("3: true", "3 is not a known key; known are"),
        ("latency: {one: 3}", "latency.one is not a known key (did you mean 'one_ms'?)"),
        ("data_checks_passed: {low: 1}", "data_checks_passed has no threshold; write true or"),
        ("latency:", "latency must be true, false or a mapping of thresholds, but got None"),
        ("latency: 20", "latency must be true, false or a mapping of thresholds, but got 20"),
        ("latency: {one_ms: '20'}", "latency.one_ms should be a valid number, but got '20'"),
        ("latency: {one_ms: true}", "latency.one_ms should be a valid number, but got True"),
        ("latency: {one_ms: -1}", "latency.one_ms should be greater than 0, but got -1"),
        ("size: {megabytes: .inf}", "size.megabytes should be a finite number, but got inf"),
        ("size: {megabytes: 0}", "size.megabytes should be greater than 0, but got 0"),
        ("better_than_champion: {margin: -0.1}", "margin should be greater than or equal to 0"),
        ("coverage_of_differences: {high: 97}", "high should be less than or equal to 1, but got"),
        (
            "calibration_of_differences: {low: 2}",
            "calibration_of_differences.low must not be above calibration_of_differences.high,"
            " but got 2 and 1.25: correct them",
        ),
        ("coverage_of_differences: {low: 0.99}", "but got 0.99 and 0.97"),
    ],
)
def test_what_fits_no_gate_is_one_error(tmp_path: Path, text: str, words: str) -> None:
    """It names file, key and value, and says what to do."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert str(tmp_path / "own.yaml") in str(error.value)
    assert words in str(error.value)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Not one a call."""
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "latency: {one_ms: 0, hundred_ms: slow}\nsize: 3")
    for key in ("latency.one_ms", "latency.hundred_ms", "size"):
        assert f"{key} " in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was named must be there."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"gates of none\.yaml cannot be read: No such file"):
        gates_in_use("none.yaml")


def test_the_example_holds_every_gate_and_its_defaults() -> None:
    """What is on in it, and with which thresholds, is what the comments of the code say."""
    values = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert list(values) == [*GatesConfig().on, *GatesConfig().off]
    config = GatesConfig.load(EXAMPLE)
    assert not config.off
    assert all(thresholds == type(thresholds)() for thresholds in config.on.values())
