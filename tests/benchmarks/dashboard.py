"""The dashboard over HTTP: the first view, typed edits, explanations.

    python -m tests.benchmarks.dashboard --experiment neural_insights.full_small

An untrained model on planted data: what it predicts does not matter for how long that takes. The
server is `ni dashboard` in a process of its own. The aims, on 2 cores: first view under 2 s once
the model is loaded, a typed edit rescored under 1 s.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests

from ni_platform.data.splits import split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.experiment_config import load_experiment
from ni_platform.models.scorer import build_scorer
from tests.browser import CHROMIUM, Browser

WORDS = ("new", "free", "today", "only", "best", "sale", "fresh", "summer")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--experiment", default="neural_insights.quickstart")
    options.add_argument("--tests", type=int, default=150)
    options.add_argument("--image-size", type=int, default=256)
    options.add_argument("--edits", type=int, default=20)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = load_experiment(chosen.experiment)
        dataset = make_synthetic(folder / "data", tests=chosen.tests, image_size=chosen.image_size)
        rows = split_dataset(dataset, config.splits).rows("train")
        build_scorer(config.model, dataset, rows, 0).save(folder / "model")
        print(f"{chosen.experiment}, {len(dataset)} contents, pictures of {chosen.image_size}")
        began = time.monotonic()
        start = "from ni_platform.cli.main import main; main()"
        words = [sys.executable, "-c", start, "dashboard", str(folder / "model")]
        words += ["--data", dataset.root, "--port", "0"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            try:
                for line in server.stdout:
                    if found := re.search(r"http://127\S+", line):
                        break
                print(
                    f"ready after {time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}"
                )
                measure(found[0], dataset, chosen.edits)
                if CHROMIUM is not None:
                    in_browser(found[0], folder / "profile", chosen.edits)
            finally:
                server.terminate()


def measure(address: str, dataset: object, edits: int) -> None:
    """Ask as the page does, one request after the other."""
    page = requests.Session()
    views = [timed(page.get, address) for _ in range(10)]
    print(f"first view {views[0]:.3f} s; then {spread(views[1:])}")
    ids = dataset.content_id.astype(str).to_list()
    others = [timed(page.get, address, params={"content": name}) for name in ids[10:20]]
    print(f"view of another content {spread(others)}")
    columns = dataset.manifest.columns
    texts = {name: str(dataset.contents[name].iloc[0]) for name in columns.text}
    domain = str(dataset.domain.iloc[0])
    draft = {"row": 0, "domain": domain, "picture": "content:0", "texts": texts}
    rng = np.random.default_rng(0)

    def edited() -> dict:
        text = " ".join(rng.choice(WORDS, 8))
        return draft | {"texts": draft["texts"] | {columns.text[0]: text}}

    def rescore() -> float:
        return timed(page.post, address + "score", json={"draft": edited()})

    first, others = rescore(), [rescore() for _ in range(edits)]
    print(f"typed edit rescored: first {first:.3f} s; then {spread(others)}")
    for modality in ("text", "domain", "attributes", "image"):
        sent = {"draft": edited(), "modality": modality}
        print(
            f"explanation of {modality}: {timed(page.post, address + 'explain', json=sent):.3f} s"
        )
    meanwhile = threading.Thread(
        target=lambda: [
            requests.post(address + "explain", json={"draft": edited(), "modality": m}, timeout=600)
            for m in ("image", "text")
        ]
    )
    meanwhile.start()
    beside = []
    while meanwhile.is_alive() and len(beside) < 200:
        beside.append(rescore())
    meanwhile.join()
    print(f"typed edit rescored while another is explained: {spread(beside)}")
    cell = {"draft": draft, "edit": {"kind": "cell", "row": 3, "column": 3}}
    print(f"painted region: {timed(page.post, address + 'what-if', json=cell):.3f} s")
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


def in_browser(address: str, profile: Path, edits: int) -> None:
    """What a visitor waits for: drawing, and the page's pause after a key, included."""
    browser = Browser(profile)
    try:
        entry = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        loaded = []
        for _ in range(5):
            browser.open(address)
            browser.wait(f"{entry} > 0")
            loaded.append(browser.evaluate(entry) / 1000)
        browser.wait("!document.querySelector('[aria-busy=true]')", 300)
        waited = []
        for number in range(edits):
            browser.evaluate("void (window.seen = document.querySelector('.score'))")
            began = time.perf_counter()
            browser.type("textarea[data-role=text]", f"only today {number}")
            browser.wait("document.querySelector('.score') !== window.seen")
            waited.append(time.perf_counter() - began)
        print(f"in Chromium: view {spread(loaded)}; typed edit on the page {spread(waited)}")
    finally:
        browser.close()


def timed(ask: object, *arguments: object, **options: object) -> float:
    """Seconds until the whole answer is there."""
    began = time.perf_counter()
    answer = ask(*arguments, timeout=600, **options)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


def spread(seconds: list[float]) -> str:
    """Median and worst."""
    return f"median {np.median(seconds):.3f} s, worst {max(seconds):.3f} s of {len(seconds)}"


if __name__ == "__main__":
    main()
