"""The history of a registered model's versions, on its own page in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ni_platform.registry.descriptions import beside, table
from ni_platform.registry.versions import aliases, version_tags
from ni_platform.tracking.store import Store

HEADING = "## Versions"
_COLUMNS = ["version", "run", "judged", "by", "outcome", "figure on the test part"]


def write_history(store: Store, model_name: str) -> None:
    """Put a table of all versions, the newest first, into the description of a model.

    It is made from the versions' tags, whatever it held before; what people wrote above stays.
    """
    with store.errors(f"describe the model {model_name}"):
        named: dict[str, list[str]] = {}
        for alias, version in aliases(store, model_name).items():
            named.setdefault(version, []).append(alias)
        tags = version_tags(store, model_name)
        rows = [_row(one, tags[one], named.get(one, [])) for one in sorted(tags, key=int)]
        existing = store.client.get_registered_model(model_name).description
        text = beside(existing, HEADING, partial(_within, rows[::-1]))
        if text != existing:
            store.client.update_registered_model(model_name, text)


def _row(version: str, tags: Mapping[str, str], aliases: list[str]) -> list[str]:
    outcome = tags.get("ni.promotion", "registered")
    if tags.get("ni.forced_reason"):
        outcome += f" ({tags['ni.forced_reason'][:60]})"
    if tags.get("ni.replaced_by"):
        word = "gave way to" if outcome == "rolled_back" else "replaced by"
        outcome += (
            f"; {word} {tags['ni.replaced_by']} on {_day(tags.get('ni.replaced_at'))}"
            f" by {tags.get('ni.replaced_person', 'unknown')}"
        )
    if tags.get("ni.restored_at"):
        outcome += f"; restored on {_day(tags['ni.restored_at'])}"
    marked = f"{version} ({', '.join(sorted(aliases))})" if aliases else version
    return [
        marked,
        tags.get("ni.run_id", "–"),
        _day(tags.get("ni.judged_at")),
        tags.get("ni.judged_by", "–"),
        outcome.replace("_", " "),
        tags.get("ni.headline", "–"),
    ]


def _day(time: str | None) -> str:
    return "–" if time is None else time[:16].replace("T", " ")


def _within(rows: list[list[str]], room: int) -> str:
    """As many rows as fit, the newest first; says how many do not."""
    for shown in range(len(rows), 0, -1):
        text = table(_COLUMNS, rows[:shown])
        if shown < len(rows):
            text += f"\n\n{len(rows) - shown} earlier versions are not shown here."
        if len(text) <= room:
            return text
    return f"{len(rows)} versions."
