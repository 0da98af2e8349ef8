"""A plan of 50 drafts with pictures on the dashboard's page, over HTTP.

    python -m tests.benchmarks.plan_page --experiment ranker.full_small

A model of planted A/B tests; the drafts are contents of other planted tests, each with a picture
that is sent with the form. The aim, on 2 cores: under 5 s.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

import ni_platform as ni
from ni_platform.data.synthetic import make_synthetic


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--experiment", default="ranker.full_small")
    options.add_argument("--tests", type=int, default=60)
    options.add_argument("--image-size", type=int, default=224)
    options.add_argument("--drafts", type=int, default=50)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = make_synthetic(
            Path(scratch) / "data", tests=chosen.tests, image_size=chosen.image_size
        )
        others = make_synthetic(
            Path(scratch) / "others", tests=chosen.drafts, image_size=chosen.image_size, seed=1
        )
        run = ni.train(chosen.experiment, data.root)
        start = "from ni_platform.cli.main import main; main()"
        words = [sys.executable, "-c", start, "dashboard", run.run_id]
        words += ["--data", data.root, "--port", "0"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
            try:
                for line in server.stdout:
                    if found := re.search(r"http://127\S+", line):
                        break
                fields, files = form_of(others, chosen.drafts)
                for _ in range(4):
                    began = time.perf_counter()
                    answer = requests.post(
                        found[0].rstrip("/") + "/plan", data=fields, files=files, timeout=600
                    )
                    took = time.perf_counter() - began
                    planned = answer.text.count('<th scope="row">')
                    print(f"{planned} drafts planned in {took:.2f} s, {answer.status_code}")
                    if not answer.ok:
                        print(answer.text)
                print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
            finally:
                server.terminate()


def form_of(others: object, count: int) -> tuple[dict[str, str], list[tuple[str, object]]]:
    """The form's fields, and its files."""
    inputs = others.inputs().head(count)
    column = others.manifest.columns.image
    names = [f"{number}.png" for number in range(len(inputs))]
    files = [
        ("pictures", (name, Path(uri).read_bytes(), "image/png"))
        for name, uri in zip(names, inputs[column])
    ]
    table = inputs.assign(**{column: names}).rename_axis("id").reset_index()
    return {"drafts": table.to_csv(index=False), "traffic": "20000", "arms": "4"}, files


if __name__ == "__main__":
    main()
