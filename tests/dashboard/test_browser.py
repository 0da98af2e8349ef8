"""The dashboard in a real browser: what is clicked, typed and uploaded, and hostile uploads."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from ni_platform.dashboard.app import dashboard_app
from ni_platform.dashboard.protection import Protection
from tests.browser import CHROMIUM, Browser, wait_for

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ROOT = Path(__file__).parents[2]
ARTIFACTS = Path(os.environ.get("CI_ARTIFACTS", ROOT / ".ni" / "test-artifacts"))
EXPLAINED = (
    "document.querySelectorAll('[data-explains]').length === 4 && "
    "document.querySelectorAll('[data-explains][aria-busy=true]').length === 0"
)


@pytest.fixture(scope="session")
def address(studio) -> Iterator[str]:
    """The dashboard on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = dashboard_app(studio, Protection(None, True))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 30)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def started(tmp_path_factory) -> Iterator[Browser]:
    """One browser for all tests."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started, address) -> Iterator[Browser]:
    """On content c3, explained; nothing may have gone wrong in the page when the test ends."""
    started.events.clear()
    started.open(address + "?content=c0")
    started.wait(EXPLAINED)
    yield started
    assert started.evaluate("window.hacked") is None
    said = [event["params"] for event in started.events if event["method"] == "Log.entryAdded"]
    # A refused upload is an error to the browser as well, and meant.
    wrong = [
        entry["entry"]["text"] for entry in said if "Failed to load" not in entry["entry"]["text"]
    ]
    assert wrong == []
    assert not [e for e in started.events if e["method"] == "Runtime.exceptionThrown"]
    asked = [e["params"]["request"]["url"] for e in started.events
             if e["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def rate(browser: Browser) -> str:
    """The prediction on the page."""
    return browser.text("#rate")


def test_the_page_explains_itself_and_leaves_a_screenshot(browser):
    """Saliency, words, patches, trust and arms are there; the picture is kept for CI."""
    assert browser.text("#rate").endswith("%")
    assert browser.evaluate("document.querySelectorAll('.overlay').length") == 2
    assert browser.evaluate("document.querySelectorAll('mark sup').length") > 0
    assert browser.evaluate("document.querySelectorAll('.patches img').length") > 0
    assert "34 of 100" in browser.text("[aria-labelledby=heading-text] .trust")
    assert browser.evaluate("document.querySelectorAll('.arms article').length") == 3
    assert browser.evaluate(
        "[...document.images].filter(i => !i.loading || i.loading !== 'lazy')"
        ".filter(i => !i.hidden && !(i.complete && i.naturalWidth)).length"
    ) == 0  # fmt: skip
    browser.screenshot(ARTIFACTS / "dashboard.png")


def test_a_typed_edit_is_rescored_at_once_and_announced(browser):
    """Without a button; a screen reader hears the new figure, and explanations follow."""
    before = rate(browser)

    browser.type("textarea[data-column=title]", "free free sale <b>today</b>")
    browser.wait("document.querySelector('.moved')")

    assert "against c0 as it was" in browser.text("#score")
    assert rate(browser) in browser.text("#announce")
    browser.wait("document.querySelector('.words p').innerText.includes('today')")
    assert "<" in browser.text(".words p")
    assert browser.evaluate("document.querySelector('.words b')") is None
    browser.click("#reset")
    browser.wait("!document.querySelector('.moved')")
    assert rate(browser) == before


def test_the_slider_and_the_sides_work_by_keyboard(browser):
    """Arrow keys on the slider; a radio button leaves one side."""
    browser.evaluate("document.getElementById('opacity').focus()")
    for _ in range(3):
        browser.press("ArrowLeft", 37)
    assert float(browser.evaluate("document.querySelector('.overlay').style.opacity")) < 0.75

    browser.evaluate("document.querySelector('input[value=both]').focus()")
    browser.press("ArrowRight", 39)
    shown = (
        "[...document.querySelectorAll('.overlay')].filter(o => !o.hidden).map(o => o.dataset.side)"
    )
    assert browser.evaluate(shown) == ["positive"]
    browser.click("input[value=negative]")
    assert browser.evaluate(shown) == ["negative"]


def test_a_recommended_phrase_is_tried_and_taken_over(browser):
    """From the table into the edit, predicted, labelled, and into the text."""
    browser.type("textarea[data-column=title]", "new home today")
    browser.click("button[data-replacement='last chance'], button[data-replacement]")
    assert browser.evaluate("document.activeElement.name") == "phrase"
    used = browser.evaluate("document.querySelector('[name=replacement]').value")
    browser.call("Input.insertText", text="new home")
    browser.press("Enter", 13)
    browser.wait("document.querySelector('#change .change')")

    assert "prediction – not an observation" in browser.text("#change")
    assert "new home" in browser.text("#change table")
    browser.click("button[data-apply]")
    browser.wait(f"document.querySelector('textarea[data-column=title]').value === '{used} today'")


def test_a_patch_is_painted_over_by_its_button(browser):
    """The prediction says which one."""
    browser.click("button[data-paint-row]")
    browser.wait("document.querySelector('#change .change')")

    assert "painted over" in browser.text("#change")


def test_a_click_on_the_picture_paints_the_region_under_it_over(browser):
    """The second row of as many as there are, and the last column, at its very edge."""
    rows, columns = (
        int(browser.evaluate(f"document.querySelector('.stack').dataset.{name}"))
        for name in ("rows", "columns")
    )
    browser.evaluate("document.querySelector('.stack').scrollIntoView()")
    left, top, width, height = browser.evaluate(
        "(b => [b.left, b.top, b.width, b.height])"
        "(document.querySelector('.stack').getBoundingClientRect())"
    )
    where = {"x": left + width - 1, "y": top + height * 1.5 / rows}
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
    browser.wait("document.querySelector('#change .change')")

    assert f"region in row 2, column {columns} painted over" in browser.text("#change")


def test_an_upload_is_scored_and_explained(browser, tmp_path):
    """Under a name that is markup, which is shown as it is."""
    evil = tmp_path / "<img src=x onerror=window.hacked=1>.png"
    Image.linear_gradient("L").save(evil)

    browser.choose_file("#upload", evil)
    browser.wait("document.querySelector('#picture-said').innerText.includes('256 × 256')")

    assert "<img src=x onerror=window.hacked=1>.png" in browser.text("#picture-said")
    browser.wait("document.querySelector('.moved')")
    browser.wait("document.querySelector('.stack img')?.src.includes('/pictures/upload:')")


def test_hostile_uploads_are_one_message_and_the_page_goes_on(browser, tmp_path):
    """HTML under a picture's name, and a picture of 200 megapixels."""
    html = tmp_path / "page.png"
    html.write_text("<html><script>window.hacked=1</script></html>")
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(bomb)

    browser.choose_file("#upload", html)
    browser.wait("document.querySelector('#upload-error [role=alert]')")
    assert "unknown format" in browser.text("#upload-error")
    browser.choose_file("#upload", bomb)
    browser.wait("document.querySelector('#upload-error')?.innerText.includes('too large')")

    assert browser.evaluate("document.querySelectorAll('#upload-error [role=alert]').length") == 1
    browser.click("#no-picture-button")
    browser.wait("document.querySelector('[data-explains=image]').innerText.includes('No picture')")


def test_a_past_content_is_picked_by_clicks(browser):
    """The list filters by words and domain."""
    browser.click(".pick summary")
    browser.type("input[name=find]", "c12")
    browser.press("Enter", 13)
    browser.wait("location.search.includes('find=c12') && document.readyState === 'complete'")
    browser.wait("document.querySelector('.found a').innerText.startsWith('c12')")
    browser.click(".found a")

    browser.wait("location.search.includes('content=c12')")
    browser.wait(EXPLAINED)
    assert "now c12" in browser.text(".pick summary")


def test_everything_to_operate_has_a_name_and_is_reached_by_tab(browser):
    """What a screen reader is told: no control and no picture is without a name."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "searchbox", "combobox", "slider", "radio", "link", "image",
             "spinbutton", "img"}  # fmt: skip
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in roles
        and not node.get("name", {}).get("value", "").strip()
    ]
    assert nameless == []

    browser.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        browser.press("Tab", 9)
        reached.add(
            browser.evaluate(
                "document.activeElement.id || document.activeElement.name || "
                "document.activeElement.dataset.column || document.activeElement.className"
            )
        )
    assert {"skip", "upload", "title", "opacity", "side", "phrase", "replacement"} <= reached


def test_a_narrow_window_needs_no_sideways_scrolling(browser):
    """A telephone, or a page enlarged four times."""
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=360,
        height=740,
        deviceScaleFactor=1,
        mobile=False,
    )
    try:
        wide = browser.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => "
            "e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.unseen'))"
            ".map(e => e.tagName + '.' + e.className)"
        )
        assert wide == []
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
