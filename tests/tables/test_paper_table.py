"""The papers' tables as experiments: what each row varies, and the sizes that the papers print."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.experiment_config import list_experiments, list_tables, load_experiment
from ni_platform.models.m2fn.network import M2FN
from ni_platform.models.modalities.modality import InputSize
from ni_platform.tables.paper_table import PaperTable, load_table
from ni_platform.tables.report import full_label

NAMES = [
    "learning_curve",
    "m2fn.table4",
    "m2fn.table5",
    "m2fn.table6",
    "m2fn.table7",
    "m2fn.table8",
    "neural_insights.figure8",
    "neural_insights.table1",
    "neural_insights.table2",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Planted contents with every modality."""
    return make_synthetic(tmp_path_factory.mktemp("planted") / "data", tests=8, image_size=32)


def rows(table: PaperTable) -> dict[str, object]:
    """The config of each row by its label."""
    return {full_label(row): row.config for row in table.rows}


def test_tables_are_found_and_are_no_experiments():
    """`ni table` knows all nine; `ni train` does not list them."""
    assert [name for name, _ in list_tables()] == NAMES
    assert not {name for name, _ in list_experiments()} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_can_be_made_for_a_dataset(dataset, name):
    """Rows are valid configs with figures only under columns that the table has."""
    table = load_table(name, dataset)
    titles = {column.title for column in table.columns}
    assert table.name == name
    assert len(table.rows) >= 2
    assert all(set(row.paper) <= titles for row in table.rows)


def test_sizes_of_table_5(dataset):
    """Parameters are those that Table 5 prints, where its networks are the published ones."""
    table = load_table("m2fn.table5", dataset)
    printed = {
        "NIMA(VGG16)": 134,
        "ResNet101": 44,
        "VGG19": 139,
        "M1FN(VGG19-cat)": 139,
    }
    for label, millions in printed.items():
        model = rows(table)[label].model
        with torch.device("meta"):
            # One text column of BERT's width stands for AVA's tags.
            built = M2FN(replace_text(model), {"attributes": InputSize(width=768)})
        size = sum(p.numel() for p in built.parameters())
        assert size / 1e6 == pytest.approx(millions, rel=0.04), label


def replace_text(model):
    """The same without loading BERT: its embedding enters as attributes of the same width."""
    from dataclasses import replace

    return replace(model, text=None, domain=None)


def test_table_6_switches_modules_by_its_flags(dataset):
    """O and × are aux, low-level fusion, attention and high-level fusion, in this order."""
    for label, config in rows(load_table("m2fn.table6", dataset)).items():
        model = config.model
        if label == "NIMA":
            assert not model.auxiliary
            assert config.training.loss.earth_movers_distance == 1
            continue
        found = [
            bool(model.auxiliary),
            any(model.low_level),
            model.attention is not None,
            model.high_level,
        ]
        assert "".join("O" if on else "×" for on in found) == label
        assert model.output == "distribution"


def test_table_5_places_low_level_fusion_by_its_numbers(dataset):
    """M2FN {0,0,1,0,0} fuses in the third block alone, and so on."""
    found = rows(load_table("m2fn.table5", dataset))
    for label, config in found.items():
        if label.startswith("M2FN"):
            flags = tuple(bool(int(n)) for n in label.partition("{")[2].rstrip("}").split(","))
            assert config.model.low_level == flags
    assert found["NIMA(Inception)"].model.image.architecture == "inception_v3"
    assert found["ResNet50-LLF"].model.low_level == (True, False, False, False, False)


def test_table_7_has_two_selections_and_models_without_pictures(dataset):
    """The same thirteen rows from 500 and from 100 impressions."""
    table = load_table("m2fn.table7", dataset, load_experiment("m2fn.small"))
    groups = [row.group for row in table.rows]
    assert (groups.count("500+"), groups.count("100+")) == (13, 13)
    found = rows(table)
    assert {config.min_impressions for config in found.values()} == {500, 100}
    without = found["100+ M2FN without image"].model
    assert "image" not in without.modalities
    assert "image" not in found["100+ MLP"].model.modalities
    assert found["100+ ××××"].model.modalities == ("image",)


def test_table_8_leaves_out_each_attribute_once(dataset):
    """Every auxiliary column of the dataset has a row without it, and only without it."""
    columns = dataset.manifest.columns
    table = load_table("m2fn.table8", dataset, load_experiment("m2fn.small"))
    left_out = {label: config.leave_out for label, config in rows(table).items()}
    for name in (*columns.text, *columns.categorical, *columns.numeric, columns.domain):
        assert left_out.pop(f"- {name}") == (name,)
    assert left_out.pop("none") == left_out.pop("all") == ()
    assert set(left_out.pop("texts alone")) == set(columns.inputs) - {*columns.text, columns.image}
    assert left_out.pop("all but texts") == columns.text
    assert not left_out


def test_table_1_has_the_rows_that_the_data_allow(dataset):
    """Without domains there is no MLP on them, and a note says so."""
    base = load_experiment("neural_insights.quickstart")
    table = load_table("neural_insights.table1", dataset, base)
    found = rows(table)
    for label, modalities in {
        "MLP, attributes": ("attributes",),
        "MLP, domain": ("domain",),
        "image network": ("image",),
        "text network": ("text",),
        "XGBoost, attributes": ("attributes",),
    }.items():
        assert found[label].model.modalities == modalities
    assert found["all modalities"] is base

    fewer = dataset.without_inputs([dataset.manifest.columns.domain])
    table = load_table("neural_insights.table1", fewer, base)
    assert "MLP, domain" not in rows(table)
    assert any("MLP, domain" in note for note in table.notes)


def test_wrong_names_and_bases_are_told(dataset):
    """A mistyped table names the nearest; a base of another kind is refused."""
    with pytest.raises(ConfigError, match=r"did you mean m2fn\.table6"):
        load_table("m2fn.tabel6", dataset)
    with pytest.raises(ConfigError, match="vary an M2FN"):
        load_table("m2fn.table6", dataset, load_experiment("neural_insights.quickstart"))
    with pytest.raises(ConfigError, match="single modalities"):
        load_table("neural_insights.table1", dataset, load_experiment("m2fn.small"))


def test_leaving_out_and_few_impressions(dataset):
    """Left-out columns are no inputs any more; a wrong name is told with the nearest."""
    name = dataset.manifest.columns.categorical[0]
    assert name not in dataset.without_inputs([name]).manifest.columns.inputs
    assert dataset.without_inputs([]).manifest == dataset.manifest
    image = dataset.manifest.columns.image
    assert dataset.without_inputs([image]).manifest.images is None
    with pytest.raises(DatasetError, match="Only an input column"):
        dataset.without_inputs(["impressions"])
    assert np.array_equal(
        dataset.without_inputs([name]).success_rate, dataset.success_rate, equal_nan=True
    )
