"""Changes to saved regressors."""

from __future__ import annotations

from pathlib import Path

from ni_platform.models.scorer import Scorer


def without_dropout(scorer_folder: Path, folder: Path) -> str:
    """Save the regressor of a folder with all its dropout set to zero; return the new folder."""
    scorer = Scorer.load(scorer_folder, "cpu")
    backbone = scorer.model.encoders["text"].backbone
    backbone.config.hidden_dropout_prob = 0.0
    backbone.config.attention_probs_dropout_prob = 0.0
    scorer.save(folder)
    return str(folder)
