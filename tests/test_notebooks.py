"""The notebooks of `experiments/notebooks`, from top to bottom in a real kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "experiments/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def executed(name: str, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder; an error in a cell fails the test."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute()


def shown(notebook: nbformat.NotebookNode) -> str:
    """All HTML below the cells."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output["data"].get("text/html", "") for output in outputs if "data" in output)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    """They would hold someone's data, and every run would change them."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_headlines_runs_from_top_to_bottom(ni_home, tmp_path):
    """Without a table of one's own; progress, saliency and gates are HTML."""
    found = shown(executed("headlines.ipynb", tmp_path))
    assert "<progress value=" in found
    assert "Blue and + raise the prediction" in found
    assert "pairwise, within tests" in found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart.ipynb", "sweep.ipynb"])
def test_a_longer_notebook_runs_from_top_to_bottom(name, ni_home, tmp_path):
    """In minutes."""
    assert "<progress value=" in shown(executed(name, tmp_path))
