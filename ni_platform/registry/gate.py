"""A gate: whether it let a model through, and on which figures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

Figure = float | int | str | None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate, whether it let the model through, and why."""

    name: str
    passed: bool
    explanation: str
    threshold: str = ""
    """What it asks for, in words; empty of a gate that has no threshold."""
    figures: dict[str, Figure] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a figure that is not defined (nan) becomes None."""
        plain = asdict(self)
        plain["figures"] = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.figures.items()
        }
        return plain
