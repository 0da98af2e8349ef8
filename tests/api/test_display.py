"""What a notebook shows: tables, frames and progress, with every text escaped."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ni_platform.api import progress as api_progress
from ni_platform.api.display import Page, Part, cell, figure
from ni_platform.api.notebook import in_notebook, show
from ni_platform.api.progress import NotebookBars, TrainingProgress
from ni_platform.errors import ConfigError
from ni_platform.reporting.page import Table
from ni_platform.training.events import EpochDone, StageStarted, StepDone

EVIL = '<img src=x onerror="alert(1)">'


def test_texts_are_escaped_wherever_they_stand():
    """Title, heading, cells and notes."""
    table = Table.of((EVIL,), [(EVIL,)], marks=["failed"])
    shown = cell(EVIL, Part(heading=EVIL, table=table, note=EVIL))
    assert "<img src=x" not in shown
    assert shown.count("&lt;img src=x onerror=") == 5


def test_a_page_stands_in_a_frame_of_its_own(tmp_path):
    """Without scripts, and its quotes do not end the attribute."""
    page = Page(html=f"<p>{EVIL}</p>")
    shown = page._repr_html_()
    assert shown.startswith("<iframe sandbox srcdoc=")
    assert EVIL not in shown
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == f"<p>{EVIL}</p>"


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (None, "–"), (float("nan"), "–"), (12345, "12,345")]
)
def test_figures_are_rounded_for_reading(value, text):
    """A dash stands for what is not there."""
    assert figure(value) == text


def test_outside_of_a_notebook_things_are_printed(capsys):
    """As in a script."""
    assert not in_notebook()
    show(SimpleNamespace(a=1))
    assert capsys.readouterr().out == "namespace(a=1)\n"


def test_an_error_is_one_message_in_a_notebook():
    """IPython asks the exception itself what to show in place of a traceback."""
    assert ConfigError("rule, value, remedy")._render_traceback_() == [
        "ConfigError: rule, value, remedy"
    ]


@pytest.fixture
def outputs(monkeypatch) -> list[str]:
    """What is shown below a cell, drawing by drawing."""
    drawn: list[str] = []

    def display(shown, display_id):
        drawn.append(shown._repr_html_())
        return SimpleNamespace(update=lambda again: drawn.append(again._repr_html_()))

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=None))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(api_progress, "in_notebook", lambda: True)
    return drawn


def test_progress_is_one_output_with_a_bar_per_stage(outputs):
    """And a line per epoch, escaped; the last drawing is complete."""
    with TrainingProgress() as progress:
        progress(f"checking {EVIL}")
        progress(
            StageStarted(
                stage="fused", epochs=2, epoch=0, step=0, steps=5, contents=9, workers=1,
                device="cpu", precision="float32",
            )
        )  # fmt: skip
        progress(
            StepDone(
                stage="fused", epoch=0, step=3, steps=5, loss=0.5, gradient_norm=1.0,
                learning_rate=0.1, samples_per_second=10.0,
            )
        )  # fmt: skip
        progress(EpochDone(stage="fused", epoch=1, epochs=2, metrics={"loss": 0.25}, improved=True))
    last = outputs[-1]
    assert '<progress value="3" max="10"></progress> fused' in last
    assert "epoch 1/2: loss 0.2500 *" in last
    assert "<img" not in last
    assert "&lt;img" in last


def test_bars_are_drawn_a_few_times_a_second_at_most(outputs):
    """However many steps there are."""
    bars = NotebookBars()
    bars.start()
    for step in range(1000):
        bars.update("fused", step, 1000, "")
    assert len(outputs) < 100
    bars.stop()
    assert 'value="999"' in outputs[-1]
