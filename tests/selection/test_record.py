import json

import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.colors import to_hex
from PIL import Image

from ni_platform.cli.data.select import command
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.errors import DatasetError
from ni_platform.selection.config import SelectionConfig
from ni_platform.selection.plots import effect_figure, level_figure
from ni_platform.selection.record import plot_names, select
from ni_platform.selection.selection import select_attributes
from ni_platform.tracking.run_queries import read_artifact, read_run
from ni_platform.tracking.store import open_store
from tests.figures import figures
from tests.selection.conftest import as_dataset

CATEGORICAL = ("colour", "noise", "own")


@pytest.fixture
def folder(campaign, tmp_path, ni_home):
    """The campaign as a dataset folder of its own."""
    planted = as_dataset(campaign, categorical=CATEGORICAL, numeric=["size"], ab_test="test")
    write_dataset(tmp_path / "data", planted.manifest, planted.contents)
    return tmp_path / "data"


def test_table_charts_and_summary_are_in_the_folder_and_in_the_run(folder):
    """Every file that the summary names is there, in MLflow as well, and the run has figures."""
    result = select(open_store(), folder, SelectionConfig())
    summary = json.loads((folder / "selection.json").read_text())
    assert summary["kept"] == ["colour", "size"]
    assert summary["dropped"] == ["noise", "own"]
    assert summary["run_id"] == result.run_id
    names = {f"plots/selection/{name}.png" for name in (*CATEGORICAL, "size", "effects")}
    assert set(summary["files"]) == names | {"selection.csv", "selection_levels.csv"}
    for name in summary["files"]:
        kept = read_artifact(open_store(), result.run_id, name)
        assert kept == (folder / name).read_bytes()
    assert min(Image.open(folder / "plots/selection/colour.png").size) > 300
    table = pd.read_csv(folder / "selection.csv").set_index("attribute")
    run = read_run(open_store(), result.run_id)
    assert (run.experiment_name, run.run_name) == ("data", "select planted")
    assert run.parameters["alpha"] == "0.05"
    assert run.metrics["kept"] == 2
    found = figures(open_store(), run.run_id)
    assert found["colour/omega_squared"] == pytest.approx(table["omega_squared"]["colour"])
    assert Dataset.open(folder).manifest.columns.categorical == CATEGORICAL


def test_apply_declares_only_what_is_kept_and_keeps_the_manifest_from_before(folder):
    """Columns stay in the table; a second application keeps both older manifests."""
    before = (folder / "dataset.yaml").read_text()
    contents = (folder / "contents.parquet").read_bytes()
    result = select(open_store(), folder, SelectionConfig(), apply=True)
    columns = Dataset.open(folder).manifest.columns
    assert (columns.categorical, columns.numeric) == (("colour",), ("size",))
    assert result.backup == "dataset.yaml.before-selection"
    assert (folder / result.backup).read_text() == before
    assert (folder / "contents.parquet").read_bytes() == contents
    assert (
        select(open_store(), folder, SelectionConfig(), apply=True).backup is None
    )  # nothing to drop
    (folder / "dataset.yaml").write_text(before)
    again = select(open_store(), folder, SelectionConfig(), apply=True)
    assert again.backup == "dataset.yaml.before-selection-2"
    assert (folder / "dataset.yaml.before-selection").read_text() == before


def test_apply_does_not_take_every_input_away(folder):
    """Where every input would go, nothing is written."""
    manifest = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(
        manifest.replace("  - colour\n", "").replace("  numeric:\n  - size\n", "")
    )
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(DatasetError, match=r"every input .* \(noise, own\)"):
        select(open_store(), folder, SelectionConfig(), apply=True)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_command_prints_a_verdict_per_attribute_and_json(folder):
    """`ni data select --json` ends with one line that holds what was kept and the run."""
    done = CliRunner().invoke(command, [str(folder), "--json", "--correction=benjamini-hochberg"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["kept"] == ["colour", "size"]
    assert found["config"]["correction"] == "benjamini-hochberg"
    assert read_run(open_store(), found["run_id"]).status == "FINISHED"


def test_names_of_attributes_become_names_of_files():
    """Signs that a path must not hold are replaced, and no two names are the same."""
    names = plot_names(["effects", "a/b", "a b", "../up", "Größe", "EFFECTS"])
    assert list(names.values()) == ["effects", "a_b", "a_b-2", "up", "Gr_e", "EFFECTS-2"]


def test_bars_show_rates_and_at_most_25_levels(campaign):
    """Heights are percentages, kept and dropped differ in colour, hidden levels are counted."""
    selection = select_attributes(
        as_dataset(campaign, categorical=["colour", "own"], ab_test="test"), SelectionConfig()
    )
    colour, own = selection.verdicts
    figure = level_figure(colour, selection.overall_rate)
    bars = figure.axes[0].patches
    assert [bar.get_height() for bar in bars] == [100 * item.rate.value for item in colour.levels]
    assert [label.get_text().split("\n")[0] for label in figure.axes[0].get_xticklabels()] == [
        "red",
        "green",
        "blue",
    ]
    many = level_figure(own, selection.overall_rate)
    assert len(many.axes[0].patches) == 25
    assert "875 levels" in many.get_supxlabel().replace("\n", " ")
    assert to_hex(bars[0].get_facecolor()) != to_hex(many.axes[0].patches[0].get_facecolor())
    effects = effect_figure(selection)
    assert [item.get_text() for item in effects.axes[0].get_yticklabels()] == ["colour (keep)"]
