"""Exports of marketing tools, from Python."""

from pathlib import Path

import pytest

import ni_platform as ni
from tests import export_files


def test_an_export_is_imported_and_added_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell that is run again adds nothing; a newer file adds its days."""
    first = export_files.meta(tmp_path, tests=3)
    ads = ni.import_export(first[0], tmp_path / "ads", success="link_clicks", text=())
    assert len(ads) == 6
    said = capsys.readouterr()
    assert "read as meta_ads" in said.out + said.err
    assert "arms were assigned: platform" in said.out + said.err
    again = ni.import_export(first, tmp_path / "ads", success="link_clicks")
    assert again.stored.fingerprint() == ads.stored.fingerprint()
    june = export_files.meta(tmp_path, tests=3, days=range(4, 6), name="june.csv")
    more = ni.import_export([*first, *june], tmp_path / "ads")
    planted = [arm for day in range(1, 6) for arm in export_files.planted(3, seed=day, shown=1_500)]
    assert more.frame["clicks"].sum() == sum(arm["successes"] for arm in planted)


def test_what_is_recognised_is_a_frame() -> None:
    """A row per profile."""
    frame = ni.export_profiles()
    assert frame.loc["klaviyo_campaigns", "success"] == ["opens", "clicks", "orders"]
    assert frame["assignment"].isna().sum() == 3  # two to say, and one that is refused


def test_what_must_be_said_is_an_error(tmp_path: Path) -> None:
    """Opens or clicks."""
    [path] = export_files.klaviyo(tmp_path)
    with pytest.raises(ni.NiError, match="--success, of opens, clicks, orders"):
        ni.import_export(path, tmp_path / "mails")
