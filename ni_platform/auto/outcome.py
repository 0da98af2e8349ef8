"""What `ni train auto` tried, chose and found, and how that stands in the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from ni_platform.auto.candidates import Candidate
from ni_platform.auto.verdict import Yardstick
from ni_platform.evaluation import FinishedRun
from ni_platform.tracking.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class AutoRun:
    """What `train_auto` tried, chose and found."""

    run: FinishedRun
    """Of the chosen model, judged on the test part."""
    yardstick: Yardstick
    candidates: tuple[Candidate, ...]
    decision: str
    """What was chosen and why, in words."""
    concerns: tuple[str, ...]
    """Why the data do not suffice; empty where they do."""
    luck: str | None
    """How much the best looks better than it is; None where that cannot be estimated."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return self.run.to_json() | {
            "auto": {
                "metric": self.yardstick.metric,
                "candidates": [asdict(each) for each in self.candidates],
                "decision": self.decision,
                "concerns": list(self.concerns),
                "luck": self.luck,
            }
        }

    def note(self, record: RunRecord, tags: Mapping[str, str | None]) -> None:
        """Write into the run what was tried, and last the tags by which others find its model."""
        table = pd.DataFrame(
            {
                "candidate": [each.name for each in self.candidates],
                self.yardstick.metric: [
                    None if each.validation is None else each.validation.value
                    for each in self.candidates
                ],
                "seconds": [each.seconds for each in self.candidates],
                "outcome": [each.outcome for each in self.candidates],
            }
        )
        record.log_table(table, "auto/candidates.csv")
        words = [self.decision, *self.concerns, *filter(None, [self.luck])]
        record.set_tags(
            {
                **tags,
                "ni.auto": self.decision,
                "ni.auto.concerns": "\n".join(self.concerns) or None,
                "mlflow.note.content": "\n\n".join(words),
            }
        )
