"""What a run's table of metrics says."""

from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.store import Store


def figures(store: Store, run_id: str) -> dict[str, float]:
    """SLICE/METRIC and its value, of every figure of a run."""
    table = read_metrics(store, run_id)
    return dict(zip(table["slice"] + "/" + table["metric"], table["value"]))
