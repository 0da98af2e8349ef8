"""Each shipped profile reads the export that it is for, exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ni_platform.data.importers.creatives import Creatives
from ni_platform.data.importers.exports.creatives import CreativeSource
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.profile import SHIPPED, load_profile, profiles
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import ConfigError, DatasetError
from tests import export_files

CASES: dict[str, tuple[Callable[..., list[Path]], dict[str, Any], str | None]] = {
    "klaviyo_campaigns": (export_files.klaviyo, {"success": "clicks"}, "randomised"),
    "mailchimp_campaigns": (export_files.mailchimp_campaigns, {"success": "clicks"}, None),
    "mailchimp_ab": (export_files.mailchimp_ab, {"success": "clicks"}, "randomised"),
    "growthbook_csv": (export_files.growthbook_csv, {"metric": "Signed up"}, "randomised"),
    "growthbook_api": (export_files.growthbook_api, {"metric": "met_signup"}, "randomised"),
    "optimizely_results": (export_files.optimizely, {}, "randomised"),
    "meta_ads": (export_files.meta, {"success": "link_clicks"}, "platform"),
    "meta_insights": (export_files.meta_insights, {"success": "link_clicks"}, "platform"),
    "linkedin_ads": (export_files.linkedin, {"success": "clicks"}, "platform"),
    "tiktok_ads": (export_files.tiktok, {"success": "clicks"}, "platform"),
    "google_assets": (export_files.google, {}, "platform"),
    "variants": (export_files.variants, {}, "randomised"),
    "variant_days": (export_files.variant_days, {}, "randomised"),
}
DAILY = {"meta_ads": 1_500, "meta_insights": 2_000, "linkedin_ads": 2_000, "variant_days": 2_000}
"""Exports with a row per day, of three days."""


def creatives_of(name: str, folder: Path) -> CreativeSource | None:
    """Where texts are that an export lacks."""
    if name != "meta_insights":
        return None
    table = str(folder / "ad_texts.csv")
    return CreativeSource(creatives=Creatives(table=table, key="creative", text=("message",)))


def test_every_profile_has_a_case() -> None:
    """A profile that nothing reads is not shipped."""
    assert set(CASES) == {name for name, profile in profiles().items() if not profile.refused}


@pytest.mark.parametrize("name", CASES)
def test_an_export_becomes_the_dataset_that_was_planted(name: str, tmp_path: Path) -> None:
    """Recognised without a word, with every text, test and count, summed over days."""
    make, wishes, kind = CASES[name]
    files = make(tmp_path, tests=3)
    asked: Any = "randomised" if profiles()[name].assignment is None else None
    result = import_export(
        files, tmp_path / "out", wishes=Wishes(**wishes), assignment=asked,
        creatives=creatives_of(name, tmp_path),
    )  # fmt: skip
    assert result.profile.name == name
    dataset = result.dataset
    assert dataset.manifest.assignment == kind
    expected = (
        pd.concat(
            pd.DataFrame(export_files.planted(3, seed=day, shown=DAILY[name])) for day in (1, 2, 3)
        )
        if name in DAILY
        else pd.DataFrame(export_files.planted(3))
    )
    sums = expected.groupby("subject")[["shown", "successes"]].sum()
    columns = list(dataset.manifest.columns.text)
    rows = dataset.contents[columns].to_numpy().tolist()
    texts = pd.Series([next(cell for cell in row if cell in sums.index) for row in rows])
    found = dataset.contents[["impressions", "clicks"]].set_axis(texts)
    assert found.to_dict("index") == sums.set_axis(["impressions", "clicks"], axis=1).to_dict(
        "index"
    )
    if kind is not None:
        tests = expected.groupby("test")["subject"].agg(set).tolist()
        assert texts.groupby(dataset.ab_test).agg(set).tolist() == tests


def test_total_rows_are_listed(tmp_path: Path) -> None:
    """A row of totals is in no content, and is in `set_aside.csv`."""
    result = import_export(
        export_files.meta(tmp_path), tmp_path / "out", wishes=Wishes(success="results")
    )
    assert result.entry["set_aside"] == {"a row of totals": 1}
    listed = pd.read_csv(tmp_path / "out" / "set_aside.csv")
    assert listed[["file", "line", "reason"]].to_numpy().tolist() == [
        ["meta.csv", 14, "a row of totals"]
    ]


def test_a_choice_is_asked_for(tmp_path: Path) -> None:
    """Opens or clicks, and which metric, are the user's to say; arms, where nobody knows."""
    with pytest.raises(ConfigError, match="--success, of opens, clicks, orders"):
        import_export(export_files.klaviyo(tmp_path), tmp_path / "out")
    with pytest.raises(ConfigError, match="--metric, of 'met_revenue', 'met_signup'"):
        import_export(export_files.growthbook_api(tmp_path), tmp_path / "out")
    with pytest.raises(ConfigError, match="--assignment randomised if chance"):
        import_export(export_files.variants(tmp_path), tmp_path / "out")
    with pytest.raises(DatasetError, match="line 3: successes must be a count, but the row has"):
        import_export(
            export_files.growthbook_csv(tmp_path), tmp_path / "out", wishes=Wishes(metric="Revenue")
        )
    assert not (tmp_path / "out").exists()


def test_what_no_profile_fits_names_the_nearest(tmp_path: Path) -> None:
    """What is missing is said, with the columns that are there."""
    path = tmp_path / "ads.csv"
    path.write_text("Ad name,Ad set name,Reporting starts,Reporting ends,Reach\na,b,c,d,1\n")
    with pytest.raises(DatasetError, match=r"nearest, meta_ads .* lacks 'Impressions', and") as e:
        import_export([path], tmp_path / "out")
    assert "'Reach'" in str(e.value)
    with pytest.raises(DatasetError, match="no export of the profile tiktok_ads: it lacks"):
        import_export([path], tmp_path / "out", profile="tiktok_ads")
    with pytest.raises(ConfigError, match="no profile 'meta'; there are brevo_ab, google_assets"):
        import_export([path], tmp_path / "out", profile="meta")


def test_a_profile_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in profiles/ of the current folder is one more export."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "posters.yaml").write_text(
        "name: posters\ntitle: Posters\nrow: a poster\n"
        "fields:\n  poster: {names: [Plakat]}\n  town: {names: [Ort]}\n"
        "  impressions: {names: [Passanten], holds: count}\n"
        "  clicks: {names: [Anrufe], holds: count}\n"
        "content: [[poster]]\nsuccess: {calls: clicks}\ndomain: town\n"
        "assignment: observational\nreason: They hang where there was room.\n"
    )
    (tmp_path / "p.csv").write_text("Plakat;Ort;Passanten;Anrufe\nA;Bonn;1.200;3\nB;Köln;900;9\n")
    result = import_export(["p.csv"], tmp_path / "out")
    assert result.profile.name == "posters"
    assert result.dataset.contents[["content_id", "impressions", "clicks"]].to_numpy().tolist() == [
        ["A", 1200, 3],
        ["B", 900, 9],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": [["nothing"]]}, "content names the field 'nothing'"),
        ({"success": {}}, "what is a success"),
        ({"colour": "red"}, "colour"),
        ({"text": ["impressions"]}, "name what is counted"),
    ],
)
def test_a_faulty_profile_is_told(change: dict, message: str, tmp_path: Path) -> None:
    """With its file and what is wrong."""
    values = yaml.safe_load((SHIPPED / "variants.yaml").read_text()) | change
    path = tmp_path / "variants.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=message) as raised:
        load_profile(path)
    assert str(path) in str(raised.value)


def test_shipped_profiles_say_what_they_prove() -> None:
    """A reason stands beside every assignment."""
    for profile in profiles().values():
        assert profile.reason.endswith(".")


def test_the_documentation_lists_every_export() -> None:
    """With the class of evidence that its profile gives."""
    page = (Path(__file__).parents[4] / "docs/how-to/exports.md").read_text()
    for name, profile in profiles().items():
        [line] = [line for line in page.splitlines() if f"(`{name}`)" in line]
        proves = "nothing" if profile.refused else profile.assignment or "what you say"
        assert line.endswith(f"| {proves} |")


def test_rates_without_counts_are_refused(tmp_path: Path) -> None:
    """Nobody can tell how much of a rate is noise."""
    path = tmp_path / "brevo.json"
    path.write_text(
        '{"winningVersion": "A", "winningSubjectLine": "x",'
        ' "statistics": {"openers": {"Version A": "27.69%", "Version B": "22.1%"}}}'
    )
    with pytest.raises(DatasetError, match=r"Brevo.*holds rates and no counts"):
        import_export([path], tmp_path / "out")


def test_campaigns_without_variants_are_contents(tmp_path: Path) -> None:
    """Each a test of one arm, which is said."""
    path = tmp_path / "klaviyo.csv"
    path.write_text(
        "Campaign Name,Variant Name,Subject,Unique Clicks,Successful Deliveries,Campaign ID\n"
        "May,Variation A,Buy,5,100,c1\nMay,Variation B,Take,7,101,c1\nJune,,Go,9,300,c2\n"
    )
    result = import_export([path], tmp_path / "out")
    assert result.dataset.content_id.tolist() == ["c1 | Variation A", "c1 | Variation B", "c2"]
    assert result.notes[0].startswith("1 A/B tests have one arm, such as 'c2'")


def test_results_of_several_kinds_are_not_one_success(tmp_path: Path) -> None:
    """Link clicks and video views in one column are told apart."""
    path = tmp_path / "meta.csv"
    path.write_text(
        "Reporting starts,Reporting ends,Ad name,Ad set name,Results,Result indicator,Impressions\n"
        "2026-05-01,2026-05-01,a,s,5,link_click,100\n2026-05-01,2026-05-01,b,s,50,video_view,90\n"
        "2026-05-01,2026-05-01,c,s,,,80\n"
    )
    with pytest.raises(ConfigError, match="--metric, of 'link_click', 'video_view'"):
        import_export([path], tmp_path / "out")
    result = import_export([path], tmp_path / "out", wishes=Wishes(metric="link_click"))
    assert result.dataset.contents[["content_id", "clicks"]].to_numpy().tolist() == [
        ["s | a", 5],
        ["s | c", 0],
    ]
    assert result.entry["set_aside"] == {"it is of another metric": 1}
