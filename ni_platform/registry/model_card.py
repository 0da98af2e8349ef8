"""The model card: what a registered version is for, how good it is and where it ends, in Markdown.

It is the description of the version, made from its run and its tags, and made anew whenever the
version is judged. After Mitchell et al. (2019), Model Cards for Model Reporting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from ni_platform.data.assignment import EVIDENCE
from ni_platform.metrics.catalogue import METRICS
from ni_platform.registry.card_facts import CardFacts, figure
from ni_platform.registry.descriptions import beside, table
from ni_platform.registry.versions import tag_version
from ni_platform.tracking.dataset_inputs import SAMPLE_RATIO_TAG
from ni_platform.tracking.metric_table import VALUE_TAG
from ni_platform.tracking.store import Store

HEADING = "## Model card"
WHOLE = "ni.model_card"
"""Tag of a version whose card does not fit into its description: all of it."""
HEADLINE = "ni.headline"
"""Tag of a version: the figure that it is known by."""
FEW_TESTS = 100
"""A/B tests of a test part below which a card says that they are few."""

_SLICES = ("validation", "test", "in_domain", "out_of_domain", "platform")
_KNOWN_BY = ("pairwise_within", "pairwise_accuracy")
_MODALITIES = {
    "image": "picture",
    "text": "text",
    "domain": "domain",
    "categorical": "categories",
    "numeric": "numbers",
    "vector": "vectors",
}
_SHORTENED = (
    "*Shortened to fit; the whole card is this version's tag `ni.model_card` (client: "
    '`get_model_version(...).tags["ni.model_card"]`).*'
)


def write_card(store: Store, model_name: str, version: str, facts: CardFacts) -> None:
    """Put the model card of a version, as its tags are now, into its description.

    Raises:
        TrackingError: The store does not answer.
    """
    with store.errors(f"describe version {version} of {model_name}"):
        entity = store.client.get_model_version(model_name, version)
    uri = f"models:/{model_name}/{version}"
    whole = card(facts, entity.tags, uri)
    text = beside(
        entity.description, HEADING, partial(_within, facts=facts, tags=entity.tags, uri=uri)
    )
    tags = {HEADLINE: headline(facts), WHOLE: whole if _SHORTENED in text else None}
    tag_version(store, model_name, version, tags)
    with store.errors(f"describe version {version} of {model_name}"):
        store.client.update_model_version(model_name, version, text)


def headline(facts: CardFacts) -> str | None:
    """Return the figure that a model is known by: how it orders pairs of the test part."""
    for metric in _KNOWN_BY:
        found = facts.figure("test", metric)
        if found is not None:
            label = METRICS[metric].label if metric in METRICS else metric.replace("_", " ")
            return f"{label}: {found}"
    return None


def card(facts: CardFacts, tags: Mapping[str, str], uri: str, brevity: int = 0) -> str:
    """Return the card of the version `uri`; `brevity` 1 leaves slices out, 2 shortens reasons."""
    sections = {
        "Intended use": _use(facts),
        "Data": _data(facts),
        "Metrics": _metrics(facts, _SLICES if not brevity else ("test",)),
        "Calibration": _calibration(facts),
        "Worth on tests that happened": facts.run.tags.get(
            VALUE_TAG, "Not measured: `ni value` does."
        ),
        "Trust in its explanations": _insights(facts),
        "Limits": _limits(facts, tags),
        "Gates": _gates(tags, 1000 if brevity < 2 else 120),
        "How to load it": _loading(uri),
    }
    return "\n\n".join(f"### {title}\n{text}" for title, text in sections.items() if text)


def _within(room: int, *, facts: CardFacts, tags: Mapping[str, str], uri: str) -> str:
    text = card(facts, tags, uri)
    if len(text) <= room:
        return text
    for brevity in (1, 2):
        text = f"{_SHORTENED}\n\n{card(facts, tags, uri, brevity)}"
        if len(text) <= room:
            return text
    return f"{text[: room - 1]}…"


def _use(facts: CardFacts) -> str:
    roles: dict[str, list[str]] = {}
    for name, role in facts.columns.items():
        roles.setdefault(role, []).append(name)
    reads = "; ".join(
        f"{_MODALITIES.get(role, role)}: {', '.join(names)}" for role, names in roles.items()
    )
    run = facts.run
    return (
        "Predicts the success rate of a content before it is shown, so that the variants of an"
        " A/B test can be put in order. It says nothing about single people, and takes the place"
        " of no A/B test.\n\n"
        f"Model of kind `{facts.kind}`, experiment `{run.tags.get('ni.experiment', '–')}`, run"
        f" `{run.run_id}` ({run.run_name}). Reads {reads or 'nothing'}."
    )


def _data(facts: CardFacts) -> str:
    tags = facts.run.tags
    name = tags.get("ni.dataset_name") or tags.get("ni.dataset") or "not recorded"
    lines = [f"- **Dataset**: {name}, fingerprint `{tags.get('ni.dataset_fingerprint', '–')}`"]
    if facts.splits is not None:
        counts = facts.splits["part"].value_counts()
        parts = ", ".join(f"{part} {n:,}" for part, n in counts.items()).replace("_", " ")
        lines.append(f"- **Contents**: {len(facts.splits):,}, of these {parts}")
    if facts.test is not None:
        lines.append(
            f"- **Test part**: {facts.test['ab_test'].nunique():,} A/B tests,"
            f" {facts.test['impressions'].sum():,.0f} impressions"
        )
    trained = f"{facts.run.ended:%Y-%m-%d}" if facts.run.ended else "–"
    lines += [
        f"- **Dates**: of the data not recorded; trained on {trained}",
        f"- **Who saw which arm**: {_assignment(facts)}",
        "- **Planned shares** (sample ratio mismatch):"
        f" {facts.run.tags.get(SAMPLE_RATIO_TAG) or facts.randomisation or 'not checked'}",
    ]
    return "\n".join(lines)


def _assignment(facts: CardFacts) -> str:
    if facts.evidence is None or facts.test is None:
        return "how people were assigned is not recorded; the figures below hold if by chance."
    counts = facts.test["evidence"].value_counts()
    contents = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"contents of the test part by what they prove: {contents}."


def _metrics(facts: CardFacts, slices: tuple[str, ...]) -> str:
    shown = [part for part in slices if (facts.metrics["slice"] == part).any()]
    rows = []
    for name, metric in METRICS.items():
        cells = [facts.figure(part, name) or "–" for part in shown]
        if set(cells) != {"–"} and metric.headline and not name.startswith("calibration"):
            rows.append([metric.label, *cells])
    if not rows:
        return "None were recorded."
    heads = ["", *(part.replace("_", " ") for part in shown)]
    said = f"{table(heads, rows)}\n\nIn brackets: 95 % intervals over whole A/B tests."
    if "platform" in shown:
        said += f" The slice *platform* shows {EVIDENCE['platform'].partition(': ')[2]}."
    return said


def _calibration(facts: CardFacts) -> str:
    found = {
        name: facts.figure("test", f"calibration_{name}")
        for name in ("slope", "intercept", "error")
    }
    if found["slope"] is None:
        return "Not measured."
    return (
        f"On the test part: slope {found['slope']} (1 is ideal; below, predictions are too"
        f" extreme), intercept {found['intercept'] or '–'} (0 is ideal), mean error"
        f" {found['error'] or '–'} in units of the success rate."
    )


def _insights(facts: CardFacts) -> str:
    rows = []
    for modality, found in facts.insights.items():
        agreed = found["all_pairs"].get(found["method"], {})
        trust = found["trust"]["score"]
        rows.append(
            [
                modality,
                found["method"],
                figure(**agreed["correlation"]) if agreed else "–",
                "not enough evidence" if trust is None else f"{trust:.0f} of 100",
            ]
        )
    if not rows:
        return "Not tested: `ni insights` does."
    return table(["modality", "method", "insight correlation", "trust"], rows)


def _limits(facts: CardFacts, tags: Mapping[str, str]) -> str:
    limits = [_domains(facts)]
    present = set(facts.columns.values())
    missing = [word for role, word in _MODALITIES.items() if role not in present]
    if missing:
        limits.append(f"It does not read: {', '.join(missing)}.")
    if facts.evidence not in (None, "randomised"):
        limits.append(
            "No randomised A/B test judges it. What does is"
            f" {EVIDENCE[facts.evidence]}. Only such a test can show whether its order holds."
        )
    elif (tests := 0 if facts.test is None else facts.test["ab_test"].nunique()) < FEW_TESTS:
        limits.append(
            f"Only {tests} A/B tests judge it (fewer than {FEW_TESTS}): intervals are wide."
        )
    if facts.run.tags.get("ni.checks") != "passed":
        word = facts.run.tags.get("ni.checks", "not recorded").replace("_", " ")
        limits.append(f"Checks of its data: {word}.")
    if tags.get("ni.forced_reason"):
        limits.append(f"Promoted although a gate refused: {tags['ni.forced_reason']}")
    return "\n".join(f"- {limit}" for limit in limits)


def _domains(facts: CardFacts) -> str:
    if facts.test is None or facts.test["domain"].isna().all():
        return "How it does in other domains than those of its data is not known."
    unseen = facts.test.loc[facts.test["part"] == "out_of_domain", "domain"].dropna().unique()
    if not len(unseen):
        return "No domain was held out: how it does in new domains is not known."
    named = ", ".join(sorted(map(str, unseen))[:5])
    more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
    return f"It never saw these domains, and is judged on them under *out of domain*: {named}{more}"


def _gates(tags: Mapping[str, str], longest: int) -> str:
    if "ni.gates" not in tags:
        return "Not judged yet: `ni promote` does."
    judged = (
        f"{tags.get('ni.promotion', 'judged').replace('_', ' ')} on {tags.get('ni.judged_at')} by"
        f" {tags.get('ni.judged_by')}"
    )
    rows = [
        [
            gate["name"],
            "passed" if gate["passed"] else "**failed**",
            gate["explanation"][:longest],
            gate.get("threshold") or "–",  # earlier versions of this package wrote none
        ]
        for gate in json.loads(tags["ni.gates"])
    ]
    off = f"Off: {tags['ni.gates_off']}.\n\n" if tags.get("ni.gates_off") else ""
    return f"{table(['gate', 'result', 'figures', 'threshold'], rows)}\n\n{off}{judged}"


def _loading(uri: str) -> str:
    return (
        "```\n"
        f'mlflow.pyfunc.load_model("{uri}").predict(table)\n'
        f"mlflow models serve -m {uri} --env-manager local\n"
        f"ni predict {uri} --data DIR --output FILE.csv\n"
        "```"
    )
