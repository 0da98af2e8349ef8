"""The truth behind a planted dataset, kept beside it for judging predictions and attributions."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.synthetic.effects import Effects
from ni_platform.errors import DatasetError

EFFECTS_FILE = "truth.json"
CONTENTS_FILE = "truth.parquet"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Planted effects, and per content what follows from them."""

    effects: Effects
    parameters: dict[str, Any]
    """Arguments that `make_synthetic` was called with."""
    contents: pd.DataFrame
    """One row per content in the dataset's order: content_id; success_rate (true); log_odds and
    its parts text_effect, image_effect, domain_effect, attributes_effect, ab_test_effect; per
    picture element its level, `ELEMENT_effect` and `ELEMENT_box` ([left, top, right, bottom] in
    pixels, the last two exclusive; null where not drawn); text_in_image."""

    def save(self, root: str | Path) -> None:
        """Write `truth.json` and `truth.parquet` into a local or `s3://` folder."""
        table = io.BytesIO()
        self.contents.to_parquet(table, index=False)
        storage.write_bytes(storage.join(str(root), CONTENTS_FILE), table.getvalue())
        document = {"effects": asdict(self.effects), "parameters": self.parameters}
        text = json.dumps(document, indent=2) + "\n"
        storage.write_bytes(storage.join(str(root), EFFECTS_FILE), text.encode())


def read_truth(root: str | Path) -> Truth:
    """Read the truth of a planted dataset; `DatasetError` where the dataset has none."""
    path = storage.join(str(root), EFFECTS_FILE)
    if not storage.exists(path):
        raise DatasetError(
            f"{root} has no known truth, as it holds no {EFFECTS_FILE}: name a dataset that "
            "`ni data synthesize` has made."
        )
    document = json.loads(storage.read_bytes(path))
    table = storage.read_bytes(storage.join(str(root), CONTENTS_FILE))
    return Truth(
        effects=Effects(**document["effects"]),
        parameters=document["parameters"],
        contents=pd.read_parquet(io.BytesIO(table)),
    )
