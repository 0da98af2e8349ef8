"""`mlflow models serve` with and without a log of its predictions, and with a shadow.

    python -m tests.benchmarks.serving_log

A ranker of subject lines, trained here on planted tests. Clients send one content per request, as
fast as answers come, for some seconds; the settings take turns, each in a server of its own.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import requests

import ni_platform as ni
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.prediction_log.table import dropped, read_log
from ni_platform.registry.served_log import SHADOW, VARIABLE
from ni_platform.tracking.store import open_store
from tests import export_files
from tests.browser import wait_for
from tests.test_exports_end_to_end import CONFIG

WORDS = ("free", "plain", "garden", "sale", "weekend", "shoes", "letter", "lamp", "jacket", "river")
SETTINGS = ("without", "log", "log and shadow")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["NI_HOME"] = str(folder / ".ni")
        files = export_files.klaviyo(folder, tests=60)
        import_export(files, folder / "data", wishes=Wishes(success="clicks"))
        run = ni.train(replace(CONFIG, insights=None), folder / "data").run_id
        os.environ["MLFLOW_TRACKING_URI"] = open_store().uri
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for repeat in range(chosen.repeats):
            for setting in SETTINGS:
                measure(folder / f"log-{repeat}-{setting}", run, setting, chosen)


def measure(log: Path, run: str, setting: str, chosen: argparse.Namespace) -> None:
    """Ask a server of its own."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if setting != "without":
        environment[VARIABLE] = str(log)
    if setting == "log and shadow":
        environment[SHADOW] = f"runs:/{run}/model"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = ["--model-uri", f"runs:/{run}/model", "--env-manager", "local", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", *words],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(address), 300)
            asked = len(clients(address, 1, 3.0))
            for count in chosen.clients:
                seconds = clients(address, count, chosen.seconds)
                asked += len(seconds)
                p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
                print(
                    f"{setting}, {count} clients: {len(seconds) / chosen.seconds:.1f} requests/s, "
                    f"p50 {p50:.1f} ms, p99 {p99:.1f} ms; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        finally:
            server.terminate()
    if setting != "without":
        wait_for(lambda: len(read_log(log)) >= asked, 60)
        rows = read_log(log)
        print(
            f"  asked {asked}, logged {(~rows['shadow']).sum()}, in shadow {rows['shadow'].sum()}, "
            f"dropped {dropped(log)}, {len(list(log.rglob('*.parquet')))} parts"
        )


def clients(address: str, count: int, seconds: float) -> list[float]:
    """Seconds of each request of so many clients side by side."""
    found: list[float] = []
    until = time.perf_counter() + seconds

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        session = requests.Session()
        while time.perf_counter() < until:
            row = {"subject": " ".join(rng.choice(WORDS, 5))}
            began = time.perf_counter()
            answer = session.post(f"{address}/invocations", json={"dataframe_records": [row]})
            found.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def answers(address: str) -> bool:
    """Whether the server is up."""
    try:
        return requests.get(f"{address}/health", timeout=2).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
