"""Texts on the pages of MLflow's registry: beside what people write there, and within its limit.

MLflow's open-source registry has no comments (they are Databricks'): what happened to a version
stands in its tags, in its description and in that of its model.
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 5000
"""Characters of a description: the width of its column in MLflow's databases."""


def beside(existing: str | None, heading: str, render: Callable[[int], str]) -> str:
    """Return a description whose part from the line `heading` on is ours, made anew.

    What somebody wrote above that line stays. `render` gives our part within so many characters.
    """
    lines = (existing or "").splitlines()
    kept = "\n".join(lines[: lines.index(heading)] if heading in lines else lines).strip()
    kept = kept[: LONGEST // 2]
    above = f"{kept}\n\n" if kept else ""
    return f"{above}{heading}\n{render(LONGEST - len(above) - len(heading) - 1)}"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; cells are made to stay in their line and column."""
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
