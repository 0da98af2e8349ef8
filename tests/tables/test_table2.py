"""NI Table 2 measured for real: one training, a row per attribution method."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from pictured import NI

from ni_platform.attribution.config import METHODS, AttributionConfig
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.insights.config import InsightsConfig
from ni_platform.opened import open_experiment
from ni_platform.tables.paper_table import load_table
from ni_platform.tables.report import as_text
from ni_platform.tables.run import run_table
from ni_platform.tracking.store import open_store
from ni_platform.training.config import TrainingConfig
from tests.figures import figures

SMALL = ExperimentConfig(
    name="tests.small",
    model=NI,
    training=TrainingConfig(epochs=1, batch_size=32, learning_rate=1e-3),
    insights=InsightsConfig(
        attribution=AttributionConfig(grid=2, samples=8, steps=2),
        contents=60,
        replicates=20,
        permutations=19,
        shuffles=0,
    ),
)


def test_methods_of_one_training_beside_one_another(two_cpus, ni_home, tmp_path):
    """Correlations are those that the run records, changes are against GradCAM's own."""
    dataset = make_synthetic(tmp_path / "planted", tests=40, image_size=32)
    # Trained before, without insights: the table explains it, and trains nothing.
    unexplained = replace(
        SMALL, insights=None, evaluation=replace(SMALL.evaluation, glm=False)
    )  # fmt: skip
    run = train(open_store(), open_experiment(unexplained, dataset.root)).run_id
    said: list[str] = []
    table = load_table("neural_insights.table2", dataset, SMALL)
    measured = run_table(
        open_store(),
        table,
        dataset.root,
        replicates=20,
        on_event=lambda event: said.append(str(event)),
    )
    assert {own for row in measured.rows for own in row.runs} == {run}
    assert said.count(f"explaining run {run}") == 1
    assert [row.row.method for row in measured.rows] == list(METHODS)
    metrics = figures(open_store(), run)
    for modality in ("text", "image"):
        column, change = (f"{sign} {modality}, all pairs" for sign in ("ρ", "Δρ"))
        reference = metrics[f"insight/{modality}/grad_cam"]
        for row in measured.rows:
            found = metrics[f"insight/{modality}/{row.row.method}"]
            assert row.figures[column].value == pytest.approx(found)
            assert row.figures[change].value == pytest.approx(
                100 * (found - reference) / abs(reference)
            )
    # The paper compares controls with best treatments, and these data have controls.
    end = "control against best"
    assert measured.rows[1].row.paper == {f"Δρ text, {end}": 288, f"Δρ image, {end}": 55}
    text = as_text(measured)
    assert text.splitlines()[2].startswith("method")
    assert re.search(r"Δρ text, control against best: order of 4 rows against the paper's", text)


def test_a_model_that_cannot_be_explained_is_refused(tmp_path):
    """Only networks can."""
    dataset = make_synthetic(tmp_path / "planted", tests=8, image_size=32)
    with pytest.raises(ConfigError, match="only networks can be explained"):
        load_table("neural_insights.table2", dataset, load_experiment("baselines.glm"))
