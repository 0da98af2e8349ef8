"""Pictures of pages: `python -m tests.docs.pictures RUN_ID --data DIR --content ID`.

For the documents. In the folder of a run on planted data, which `ni data synthesize DIR` and `ni
train neural_insights.demo --data DIR` make. Writes docs/images/dashboard.png and report.png, taken
by a real Chromium, of at most 150 KB each.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import click
from PIL import Image

from ni_platform.insights.record import REPORT
from ni_platform.tracking.run_queries import read_artifact
from ni_platform.tracking.store import open_store
from tests.browser import Browser, wait_for

IMAGES = Path(__file__).parents[2] / "docs/images"
LARGEST = 150_000
_WIDTH, _HEIGHT = 1200, 900
_EXPLAINED = (
    "document.querySelectorAll('[data-explains]').length && "
    "!document.querySelectorAll('[data-explains][aria-busy=true]').length"
)


@click.command()
@click.argument("run_id")
@click.option("--data", required=True)
@click.option("--content", required=True, help="The id of the content that the page shows.")
@click.option("--images", type=Path, default=IMAGES)
def main(run_id: str, data: str, content: str, images: Path) -> None:
    """Take both pictures of a run."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.html"
        report.write_bytes(read_artifact(open_store(), run_id, REPORT))
        browser = Browser(Path(scratch) / "profile", _WIDTH, _HEIGHT)
        try:
            browser.open(report.as_uri())
            take(browser, images / "report.png")
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = listener.getsockname()[1]
            words = ["dashboard", run_id, f"--data={data}", f"--port={port}"]
            script = "from ni_platform.cli.main import main; main()"
            server = subprocess.Popen([sys.executable, "-c", script, *words])
            try:
                wait_for(lambda: _answers(port), 600)
                browser.open(f"http://127.0.0.1:{port}/?{urlencode({'content': content})}")
                browser.wait(_EXPLAINED, 600)
                take(browser, images / "dashboard.png")
            finally:
                server.terminate()
                server.wait()
        finally:
            browser.close()


def take(browser: Browser, path: Path) -> None:
    """Take the upper part of a page, in as many colours as fit."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.png"
        browser.screenshot(whole)
        picture = Image.open(whole).convert("RGB")
        picture = picture.crop((0, 0, min(picture.width, _WIDTH), _HEIGHT))  # less a scroll bar
        path.parent.mkdir(parents=True, exist_ok=True)
        for colours in (256, 128, 64, 32):
            picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size <= LARGEST:
                return
    raise SystemExit(f"{path} is {path.stat().st_size} bytes, more than {LARGEST}")


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
