"""Gates that a file switches on: differences, value, latency and size, on planted runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ni_platform.api.runs import open_run
from ni_platform.beliefs.arms import gathered
from ni_platform.beliefs.prior import Prior
from ni_platform.errors import ConfigError, PromotionRefusedError
from ni_platform.registry.comparison_gates import worth
from ni_platform.registry.descriptions import LONGEST
from ni_platform.registry.gate import Gate
from ni_platform.registry.gates_config import GatesConfig
from ni_platform.registry.model_source import resolve_model
from ni_platform.registry.promotion import PromotionReport, promote
from ni_platform.registry.signature import VERIFY_KEY
from ni_platform.tracking.metric_table import add_metrics
from ni_platform.tracking.run_queries import read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.value.replay import ReplayConfig, replay
from tests.command import ni
from tests.registry.test_signature import make_key

Record = Callable[..., str]

MODEL = "planted-headlines"
RIGHT = np.tile([0.1, 0.2, 0.3], 40)
"""Puts the arm of 300 clicks per 1,000 first, 100 more than the mean."""
HALF = np.tile([0.1, 0.3, 0.2], 40)
"""Puts the arm of 200 clicks first, as many as the mean."""
TESTED = "predictions/test.parquet"


def file_of(folder: Path, **gates: object) -> Path:
    """A file in which these gates are on, with their thresholds, and all others off."""
    file = folder / "own.yaml"
    every = [*GatesConfig().on, *GatesConfig().off]
    file.write_text(yaml.safe_dump(dict.fromkeys(every, False) | gates), encoding="utf-8")
    return file


def only(report: PromotionReport) -> Gate:
    """The one gate that was asked."""
    (gate,) = report.gates
    return gate


def record_figures(run_id: str, **figures: tuple[float, float, float]) -> None:
    """Give a run figures of its test part: value, low, high."""
    rows = [("test", name, *values, 9.0) for name, values in figures.items()]
    columns = ["slice", "metric", "value", "low", "high", "n"]
    add_metrics(RunRecord.existing(open_store(), run_id), pd.DataFrame(rows, columns=columns))


def change_test(run_id: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change what a run recorded of its test part."""
    table = read_table_artifact(open_store(), run_id, TESTED)
    RunRecord.existing(open_store(), run_id).log_table(change(table), TESTED)


def tags(version: str) -> dict[str, str]:
    """The tags of a version."""
    return dict(open_store().client.get_model_version(MODEL, version).tags)


@pytest.mark.parametrize(
    ("gate", "metric", "value", "passes"),
    [
        ("calibration_of_differences", "pair_slope", 0.8, True),
        ("calibration_of_differences", "pair_slope", 1.25, True),
        ("calibration_of_differences", "pair_slope", 1.2501, False),
        ("calibration_of_differences", "pair_slope", 0.7999, False),
        ("coverage_of_differences", "pair_coverage", 0.93, True),
        ("coverage_of_differences", "pair_coverage", 0.9701, False),
    ],
)
def test_differences_are_calibrated(
    finished_run: Record, tmp_path: Path, gate: str, metric: str, value: float, passes: bool
) -> None:
    """A figure at a bound passes, one beyond it is refused with its interval and the bounds."""
    run_id = finished_run(RIGHT)
    record_figures(run_id, **{metric: (value, 0.5, 1.5)})
    report = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **{gate: True}))
    found = only(report)
    assert (found.name, found.passed, report.promoted) == (gate, passes, passes)
    assert found.figures == {metric: value, "low": 0.5, "high": 1.5}
    assert f"{metric} {value:.4g} on the test part, 95 % interval [0.5, 1.5]" in found.explanation
    assert ("it must lie from" in found.explanation) is not passes


def test_a_run_without_figures_of_differences(finished_run: Record, tmp_path: Path) -> None:
    """It is refused, and told why and what to do."""
    file = file_of(tmp_path, calibration_of_differences=True, coverage_of_differences=True)
    report = promote(open_store(), finished_run(RIGHT), MODEL, gates=file)
    assert [gate.passed for gate in report.gates] == [False, False]
    for gate, metric in zip(report.gates, ("pair_slope", "pair_coverage")):
        assert f"the run has no figure test/{metric}" in gate.explanation
        assert "Train again on a dataset that has some" in gate.explanation


def test_worth_of_a_choice() -> None:
    """Two tests by hand: 30 of 15 alike; and of 10, 20 and 60 the two first, which are tied."""
    tests = pd.DataFrame(
        {
            "ab_test": ["a", "b", "a", "b", "b"],
            "clicks": [30, 10, 0, 40, 6],
            "impressions": [1000, 1000, 500, 2000, 100],
            "prediction": [0.2, 0.4, 0.1, 0.4, 0.3],
        }
    )
    assert worth(tests, "prediction").to_dict() == pytest.approx({"a": 30 - 15, "b": 15 - 30})


def test_worth_is_that_of_a_replay() -> None:
    """A gate and `ni value` mean the same by the worth of a model."""
    rng = np.random.default_rng(0)
    test = np.repeat(np.arange(20), rng.integers(2, 5, 20))
    impressions = rng.integers(500, 2000, len(test)).astype(float)
    clicks = rng.binomial(impressions.astype(int), 0.1).astype(float)
    logits = rng.integers(0, 3, len(test)).astype(float)  # some are tied
    columns = {"ab_test": test, "clicks": clicks, "impressions": impressions, "prediction": logits}
    replayed = replay(
        gathered(test, clicks, impressions, logits, {}),
        None,
        Prior(slope=0, deviation=0.3, overdispersion=1),
        ReplayConfig(replicates=1),
    )
    assert worth(pd.DataFrame(columns), "prediction").to_numpy() == pytest.approx(
        replayed.at_once["model"]
    )


def test_value_against_the_champion(finished_run: Record, tmp_path: Path) -> None:
    """Of five A/B tests: +100, +100, 0, -100 and, where all arms are tied, 0 clicks per 1,000.

    Every arm has 1,000 impressions, and 100, 200 or 300 clicks. The champion always chooses 200.
    """
    promote(open_store(), finished_run(HALF), MODEL)
    prediction = RIGHT.copy()
    prediction[105:] = [1, 2, 3, 1, 2, 3, 1, 3, 2, 3, 2, 1, 2, 2, 2]
    run_id = finished_run(prediction, learned=lambda test: test < 35)

    wide = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(200)), force="x")
    figures = only(wide).figures
    assert (figures["contents"], figures["ab_tests"], figures["left_out"]) == (15, 5, 0)
    assert (figures["challenger"], figures["champion"]) == (pytest.approx(20), pytest.approx(0))
    assert figures["difference"] == pytest.approx(20)
    assert -100 <= figures["low"] < -0.5 < 20 < figures["high"] <= 100
    assert only(wide).passed


def margin(clicks: float) -> dict[str, dict[str, float]]:
    """The gate of value with a margin."""
    return {"value_not_below_champion": {"margin": clicks}}


def test_the_margin_of_value(finished_run: Record, tmp_path: Path) -> None:
    """An interval that begins at the negative margin passes, one that begins below does not."""
    promote(open_store(), finished_run(HALF), MODEL)
    prediction = np.where(np.arange(120) // 3 % 2, RIGHT, RIGHT[::-1])
    run_id = finished_run(prediction)
    report = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(0.5)))
    low = only(report).figures["low"]
    assert not report.promoted
    assert "the interval must not begin below -0.5" in only(report).explanation
    assert only(report).threshold == "difference of at least -0.5 clicks per 1,000"
    file = file_of(tmp_path, **margin(-low - 1e-6))
    assert not promote(open_store(), run_id, MODEL, gates=file).promoted
    assert promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(-low))).promoted


def test_a_model_that_chooses_as_the_champion_does(finished_run: Record, tmp_path: Path) -> None:
    """It is worth the same, and passes; pairs that it orders otherwise do not count here."""
    promote(open_store(), finished_run(RIGHT), MODEL)
    run_id = finished_run(np.tile([0.2, 0.1, 0.3], 40))
    report = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(0)))
    figures = only(report).figures
    assert report.promoted
    assert (figures["difference"], figures["low"], figures["high"]) == (0, 0, 0)
    assert figures["champion"] == pytest.approx(100)


def test_arms_that_nobody_saw_are_no_choice(finished_run: Record, tmp_path: Path) -> None:
    """Of ten A/B tests two arms were shown, of ten one: these judge nothing."""
    promote(open_store(), finished_run(HALF), MODEL)
    run_id = finished_run(RIGHT)

    def unseen(table: pd.DataFrame) -> pd.DataFrame:
        shown = np.where(np.arange(60) < 30, [1, 1, 0] * 20, [0, 0, 1] * 20).astype(bool)
        return table.assign(
            impressions=table["impressions"].where(shown, 0), clicks=table["clicks"].where(shown, 0)
        )

    change_test(run_id, unseen)
    report = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(0.5)))
    figures = only(report).figures
    # Of 100 and 200 clicks both models choose 200.
    assert (figures["ab_tests"], figures["contents"]) == (10, 20)
    assert figures["challenger"] == figures["champion"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"evidence": ["platform"] * 120}, "none with two arms that were shown is among"),
        ({"evidence": ["mismatched"] * 120}, "none with two arms that were shown is among"),
    ],
)
def test_value_needs_randomised_tests(
    finished_run: Record, tmp_path: Path, how: dict, words: str
) -> None:
    """Where there are none it is refused, with the remedy."""
    promote(open_store(), finished_run(HALF), MODEL)
    file = file_of(tmp_path, **margin(0.5))
    gate = only(promote(open_store(), finished_run(RIGHT, **how), MODEL, gates=file))
    assert not gate.passed
    assert words in gate.explanation
    assert "switch this gate off" in gate.explanation


def test_value_is_counted_in_clicks(finished_run: Record, tmp_path: Path) -> None:
    """The clicks of ratings are no whole numbers."""
    promote(open_store(), finished_run(HALF), MODEL)
    run_id = finished_run(RIGHT)
    change_test(run_id, lambda table: table.assign(clicks=table["clicks"] + 0.25))
    gate = only(promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **margin(0.5))))
    assert not gate.passed
    assert "must be whole numbers, but one content has 100.25" in gate.explanation


def test_value_without_a_champion(finished_run: Record, tmp_path: Path) -> None:
    """There is nothing to stay behind."""
    file = file_of(tmp_path, **margin(0.5))
    report = promote(open_store(), finished_run(HALF), MODEL, gates=file)
    assert report.promoted
    assert only(report).explanation == "there is no champion yet"


def test_the_margin_of_pairs(finished_run: Record, tmp_path: Path) -> None:
    """A model just as good as the champion passes with a margin, and not without."""
    promote(open_store(), finished_run(HALF), MODEL)
    run_id = finished_run(HALF)
    for size, passes in ((0.0, False), (0.01, True)):
        file = file_of(tmp_path, better_than_champion={"margin": size})
        gate = only(promote(open_store(), run_id, MODEL, gates=file))
        assert gate.passed is passes
        assert gate.threshold == f"difference above {0 - size:g}"


@pytest.mark.parametrize(
    ("budget", "passes"), [((1e9, 1e9), True), ((0.0001, 1e9), False), ((1e9, 0.0001), False)]
)
def test_latency(
    finished_run: Record, tmp_path: Path, budget: tuple[float, float], passes: bool
) -> None:
    """Both budgets count; the machine stands beside the times."""
    file = file_of(tmp_path, latency={"one_ms": budget[0], "hundred_ms": budget[1]})
    report = promote(open_store(), finished_run(RIGHT), MODEL, gates=file)
    gate = only(report)
    assert (gate.passed, report.promoted) == (passes, passes)
    assert "the example has no" not in gate.explanation
    assert gate.figures["one_ms"] > 0
    assert gate.figures["hundred_ms"] > 0
    assert (gate.figures["one_budget_ms"], gate.figures["hundred_budget_ms"]) == budget
    assert gate.figures["cores"] == len(os.sched_getaffinity(0))
    slow = [name for name, ms in zip(("1 content", "100 contents"), budget) if ms < 1]
    assert [name for name in ("1 content", "100 contents") if f"{name} took" in gate.explanation
            ] == slow  # fmt: skip


def test_a_long_latency_is_written_out(
    finished_run: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1584 ms, not 1.58e+03."""
    monkeypatch.setattr("ni_platform.registry.use_gates._milliseconds", lambda *_: 1584.2)
    report = promote(
        open_store(), finished_run(RIGHT), MODEL, gates=file_of(tmp_path, latency=True)
    )
    assert "1 content in 1584 ms of 100, 100 in 1584 ms of 2000" in only(report).explanation


def test_latency_of_a_model_that_will_be_signed(
    finished_run: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is measured before it is signed, and its files stay what was signed."""
    key = make_key(tmp_path, "key")
    monkeypatch.setenv(VERIFY_KEY, str(key.with_suffix(".pub")))
    file = file_of(tmp_path, latency={"one_ms": 1e9, "hundred_ms": 1e9})
    report = promote(open_store(), finished_run(RIGHT), MODEL, sign=str(key), gates=file)
    assert report.promoted, only(report).explanation
    assert (resolve_model(open_store(), report.model_uri) / "regressor.json").is_file()


def test_size(finished_run: Record, tmp_path: Path, state: Path) -> None:
    """Every byte on disk counts: as many as the threshold pass, one more does not."""
    run_id = finished_run(RIGHT)
    (model,) = [file.parent for file in state.rglob("MLmodel")]
    size = sum(
        os.path.getsize(Path(folder) / name)
        for folder, _, names in os.walk(model)
        for name in names
    )
    assert size > 10_000
    below = file_of(tmp_path, size={"megabytes": (size - 1) / 1e6})
    refused = only(promote(open_store(), run_id, MODEL, gates=below))
    assert (refused.passed, refused.figures["megabytes"]) == (False, size / 1e6)
    assert "raise the threshold" in refused.explanation
    file = file_of(tmp_path, size={"megabytes": size / 1e6})
    assert promote(open_store(), run_id, MODEL, gates=file).promoted


def test_every_gate_is_written_down(finished_run: Record, tmp_path: Path) -> None:
    """In tags, with all figures, and in the card with its threshold; nothing is too long."""
    promote(open_store(), finished_run(HALF), MODEL)
    run_id = finished_run(RIGHT)
    record_figures(run_id, pair_slope=(1.0, 0.9, 1.1), pair_coverage=(0.95, 0.9, 0.99))
    every = dict.fromkeys([*GatesConfig().on, *GatesConfig().off], True)
    every["latency"] = {"one_ms": 1e9, "hundred_ms": 1e9}
    report = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, **every))
    assert report.promoted
    assert [gate.name for gate in report.gates] == list(every)
    assert report.gates_off == ()
    written = tags("2")
    assert "ni.gates_off" not in written
    assert json.loads(written["ni.gates"]) == [gate.to_json() for gate in report.gates]
    text = open_store().client.get_model_version(MODEL, "2").description
    assert len(text) <= LONGEST
    assert "Off: " not in text
    for gate in report.gates:
        assert written[f"ni.gate.{gate.name}"] == f"passed: {gate.explanation}"
        cells = (gate.name, "passed", gate.explanation, gate.threshold or "–")
        assert f"| {' | '.join(cells)} |" in text


def test_gates_that_are_off_are_named(finished_run: Record, tmp_path: Path) -> None:
    """In the card, in place of what an earlier judgement said of them."""
    run_id = finished_run(RIGHT)
    small = promote(open_store(), run_id, MODEL, gates=file_of(tmp_path, size={"megabytes": 1e-9}))
    assert not small.promoted
    assert tags("1")["ni.gate.size"].startswith("failed: ")
    report = promote(open_store(), run_id, MODEL)
    assert report.promoted
    assert report.to_json()["gates_off"] == list(GatesConfig().off)
    assert "ni.gate.size" not in tags("1")
    text = open_store().client.get_model_version(MODEL, "1").description
    off = "calibration_of_differences, coverage_of_differences, value_not_below_champion, latency"
    assert f"Off: {off}, size." in text
    assert "| size |" not in text
    assert "| better_than_champion | passed | there is no champion yet | difference above 0 |" in (
        text
    )


def test_all_gates_off(finished_run: Record, tmp_path: Path) -> None:
    """What no gate was asked about is champion, and its card says that none was asked."""
    report = promote(open_store(), finished_run(RIGHT), MODEL, gates=file_of(tmp_path))
    assert (report.promoted, report.gates) == (True, ())
    text = open_store().client.get_model_version(MODEL, "1").description
    assert "Off: data_checks_passed, " in text
    assert "Not judged yet" not in text


def test_the_file_of_the_current_folder(
    finished_run: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command takes it and says so; a file that is named counts in its place."""
    run_id = finished_run(RIGHT)
    monkeypatch.chdir(tmp_path)
    Path("gates.yaml").write_text("size: {megabytes: 0.000001}\n")
    refused = ni("promote", run_id, f"--model={MODEL}")
    assert refused.code != 0
    assert "the gates are those of gates.yaml" in refused.stderr
    assert "size: " in refused.stderr
    Path("other.yaml").write_text("size: {megabytes: 1000}\n")
    named = ni("promote", run_id, f"--model={MODEL}", "--gates=other.yaml", "--json")
    assert "the gates are those of other.yaml" in named.stderr
    assert [gate["name"] for gate in named.json["gates"]][3:] == ["size"]


def test_a_file_in_python(finished_run: Record, tmp_path: Path) -> None:
    """`run.promote` takes it as the command does."""
    file = file_of(tmp_path, size={"megabytes": 1e-6})
    run = open_run(finished_run(RIGHT))
    with pytest.raises(PromotionRefusedError, match=r"size: .*raise the threshold"):
        run.promote(MODEL, gates=file)
    model = run.promote(MODEL, gates=file_of(tmp_path, size=True))
    assert model.gates["gate"].tolist() == ["size"]


def test_a_file_that_cannot_be_used_changes_nothing(
    finished_run: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No version is registered."""
    monkeypatch.chdir(tmp_path)
    Path("gates.yaml").write_text("sizes: true\n")
    with pytest.raises(ConfigError, match=r"gates\.yaml: sizes is not a known key"):
        promote(open_store(), finished_run(RIGHT), MODEL)
    assert not open_store().client.search_registered_models()
