"""`ni insights`: what a model has learned, as advice, and how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.output import console, data_option, json_option, print_json, table

if TYPE_CHECKING:
    from ni_platform.insights.insights import Insights
    from ni_platform.insights.record import StoredInsights

methods_option = click.option(
    "--methods",
    metavar="LIST",
    help="Attribution methods, separated by commas: grad_cam, integrated_gradients, kernel_shap, "
    "feature_ablation, pca (the consensus of the others). All if not given.",
)


@click.command("insights")
@click.argument("model")
@data_option()
@methods_option
@click.option(
    "--contents",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Most contents that are explained; held-out A/B tests come first.",
)
@json_option
def command(model: str, data: str, methods: str | None, contents: int, as_json: bool) -> None:
    """Explain MODEL on --data, test the explanations against what happened, and recommend.

    MODEL is a run id, models:/NAME@champion or another model URI. Everything goes into the run
    that made it (for another dataset, into a run of its own): metrics
    insight/MODALITY/correlation and .../trust, and insights/report.html, which `ni ui` opens.
    """
    from ni_platform.api.progress import EventLog
    from ni_platform.insights.config import InsightsConfig
    from ni_platform.scoring import explain_model
    from ni_platform.tracking.store import open_store

    config = InsightsConfig(attribution=attribution_config(methods), contents=contents)
    with EventLog() as log:
        run_id, insights = explain_model(open_store(), model, data, config, on_event=log)
    print_insights(insights)
    console.print(f"Run:   {run_id}\nNext:  ni ui, artifact insights/report.html", highlight=False)
    if as_json:
        print_json(
            {
                "run_id": run_id,
                "trust": {name: found.trust.score for name, found in insights.modalities.items()},
            }
        )


def attribution_config(methods: str | None) -> Any:
    """Return the config of the methods that were named."""
    from ni_platform.attribution.config import METHODS, AttributionConfig

    named = METHODS if methods is None else tuple(name.strip() for name in methods.split(","))
    return AttributionConfig(methods=named)


def print_insights(insights: Insights | StoredInsights) -> None:
    """Print each modality's insight correlations, and the best words and phrases."""
    rows = [
        (
            name,
            method,
            _estimate(agreed.correlation),
            agreed.p_value,
            _estimate(agreed.pairwise),
            agreed.tests,
            str(found.trust) if method == found.method else "",
        )
        for name, found in insights.modalities.items()
        for method, agreed in found.all_pairs.items()
    ]
    rows += [
        (
            f"{name}, platform delivery",
            method,
            _estimate(agreed.correlation),
            agreed.p_value,
            _estimate(agreed.pairwise),
            agreed.tests,
            "",
        )
        for name, found in insights.modalities.items()
        for method, agreed in found.platform.items()
    ]
    heads = ("modality", "method", "correlation", "p", "higher arm won", "tests", "trust")
    table("Do attributions agree with held-out A/B tests?", heads, rows)
    if insights.withheld is not None:
        console.print(f"No advice: within A/B tests the model is {insights.withheld}.")


def _estimate(estimate: Any) -> str:
    if estimate.value != estimate.value:
        return "–"
    if estimate.low != estimate.low:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
