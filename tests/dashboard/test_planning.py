"""The page on which a test is planned: without script, and without reading a visitor's paths."""

from __future__ import annotations

import copy
import io
import re
import socket
import threading
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

import ni_platform as ni
from ni_platform.beliefs.past_errors import PastErrors
from ni_platform.beliefs.prior import Prior
from ni_platform.dashboard.app import dashboard_app
from ni_platform.dashboard.opening import open_studio
from ni_platform.dashboard.protection import Protection
from ni_platform.dashboard.studio import Studio
from ni_platform.errors import DatasetError
from ni_platform.models.regressor import Regressor
from ni_platform.plans.drafts import sent_drafts
from ni_platform.plans.record import recorded_plan, recorded_plans
from ni_platform.tracking.store import open_store
from tests.browser import CHROMIUM, Browser, wait_for

_DRAFTS = "Plain garden sale weekend shoes\nFree garden sale weekend shoes\n<b>Plain</b> letter\n"
_TABLE_ROW = "f,Free garden sale weekend shoes"


@pytest.fixture(scope="module")
def planner(ranker_project: Path) -> TestClient:
    """The dashboard of a ranker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NI_HOME", str(ranker_project / ".ni"))
        run = (ranker_project / "run").read_text()
        studio = open_studio(open_store(), run, str(ranker_project / "data"))
    client = TestClient(dashboard_app(studio, Protection(None, True)), base_url="http://127.0.0.1")
    client.studio = studio
    return client


def test_drafts_that_are_pasted_become_a_plan(planner: TestClient) -> None:
    """A row per draft with its share, sentences, and nothing of a visitor's as markup."""
    assert 'href="/plan"' in planner.get("/").text
    assert "Drafts, one per line" in planner.get("/plan").text
    fields = {"drafts": _DRAFTS, "control": "1", "traffic": "4,000", "arms": "3"}
    found = planner.post("/plan", data=fields)
    assert found.status_code == 200
    assert "the set whose best is expected to be best." in found.text
    assert "from 1 in 80% of cases" in found.text
    assert found.text.count('<th scope="row">') == 3
    assert "<b>Plain</b> letter" not in found.text
    assert "&lt;b&gt;Plain&lt;/b&gt; letter" in found.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"drafts": "only one"}, "2 to 1,000 drafts, but got 1"),
        ({"drafts": "a b\n" * 200}, "at most 100 drafts"),
        ({"drafts": _DRAFTS, "control": "9"}, "none of"),
        ({"drafts": _DRAFTS, "traffic": "many"}, "a number such as 20,000, but got"),
        ({"drafts": _DRAFTS, "arms": "1"}, "arms does not fit"),
        ({"drafts": _DRAFTS, "more": "x"}, "more does not fit"),
        ({"drafts": 'id,subject\n1,"open\n'}, "line 2"),
    ],
)
def test_what_cannot_be_planned_is_one_message(
    planner: TestClient, fields: dict[str, str], said: str
) -> None:
    """And no traceback."""
    found = planner.post("/plan", data=fields)
    assert found.status_code == 400
    assert said in found.text


def test_a_plan_is_recorded_by_a_button(planner: TestClient, ranker_project: Path) -> None:
    """As a run of the same figures, without what the drafts say; not before it is pressed."""
    store = open_store(f"sqlite:///{ranker_project}/.ni/mlflow.db")
    before = len(recorded_plans(store))
    drafts = "\n".join(["id,subject", "p,Plain garden sale weekend shoes", _TABLE_ROW])
    fields = {"drafts": drafts, "control": "p", "traffic": "4,000", "arms": "2"}
    shown = planner.post("/plan", data=fields)
    assert "Record this plan" in shown.text
    assert len(recorded_plans(store)) == before
    sent = {"plan": re.search(r'<button name="plan" value="([\w-]+)">', shown.text)[1]}
    foreign = {"origin": "http://evil.example"}
    refused = planner.post("/plan/record", data=sent, headers=foreign)
    assert refused.status_code == 403
    assert len(recorded_plans(store)) == before
    found = planner.post("/plan/record", data=sent)
    run_id = re.search("recorded as run <code>([0-9a-f]{32})</code>", found.text)[1]
    assert "Record this plan" not in found.text
    rows = recorded_plan(store, run_id)
    assert sorted(rows["content_id"]) == ["f", "p"]
    assert rows["share"].sum() == pytest.approx(1.0)
    assert set(rows["model_run"]) == {(ranker_project / "run").read_text()}
    again = planner.post("/plan/record", data=sent)
    assert run_id in again.text
    assert len(recorded_plans(store)) == before + 2
    assert "no longer kept" in planner.post("/plan/record", data={"plan": "other"}).text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_both_buttons_work_in_a_browser(planner: TestClient, tmp_path: Path) -> None:
    """The page's own forms are no other site's."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(planner.app, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    browser = Browser(tmp_path)
    try:
        wait_for(lambda: server.started, 30)
        browser.open(f"http://127.0.0.1:{listening.getsockname()[1]}/plan")
        browser.type("textarea", _DRAFTS)
        browser.click("main form button")
        browser.wait("document.querySelector('form#record')")
        browser.click("#record button")
        browser.wait("document.querySelector('#record code')")
        assert browser.text("#record").startswith("This plan is recorded as run ")
    finally:
        browser.close()
        server.should_exit = True
        thread.join(30)


def test_a_dashboard_without_records_has_no_button(planner: TestClient) -> None:
    """Nor takes what the button would send."""
    studio = copy.copy(planner.studio)
    studio.plans = None
    bare = TestClient(dashboard_app(studio, Protection(None, True)), base_url="http://127.0.0.1")
    assert "Record this plan" not in bare.post("/plan", data={"drafts": _DRAFTS}).text
    found = bare.post("/plan/record", data={"plan": "any"})
    assert found.status_code == 400
    assert "start it without --no-record" in found.text


def test_other_sites_and_other_models_cannot_plan(client: TestClient, planner: TestClient) -> None:
    """A foreign page is refused; a network does not say how sure it is."""
    foreign = {"origin": "http://evil.example"}
    assert planner.post("/plan", data={"drafts": _DRAFTS}, headers=foreign).status_code == 403
    assert 'href="/plan"' not in client.get("/").text
    found = client.post("/plan", data={"drafts": "id,title\n1,a\n2,b\n"})
    assert found.status_code == 400
    assert "says how sure it is" in found.text


def test_drafts_are_read_as_tables_or_lines(ranker: Regressor, ranker_project: Path) -> None:
    """Columns by name; lines are texts, also one that holds the name of a column."""
    table = sent_drafts("id,subject\nx,Free tea\ny,Plain tea\n", ranker)
    assert table.to_dict("index") == {"x": {"subject": "Free tea"}, "y": {"subject": "Plain tea"}}
    lines = sent_drafts("Free subject\n\n  Plain tea \n", ranker)
    told = {"1": {"subject": "Free subject"}, "2": {"subject": "Plain tea"}}
    assert lines.to_dict("index") == told
    assert ni.open_run((ranker_project / "run").read_text()).model.columns == {"subject": "text"}


def test_a_file_of_drafts_takes_the_place_of_the_field(planner: TestClient) -> None:
    """As a spreadsheet writes it, with semicolons and in Latin letters."""
    data = "id;subject\nx;Plain garden sale für shoes\ny;Free garden sale weekend\n"
    sent = {"table": ("drafts.csv", data.encode("cp1252"), "text/csv")}
    found = planner.post("/plan", data={"arms": "2"}, files=sent)
    assert found.status_code == 200, found.text
    assert "Plain garden sale für shoes" in found.text


def _sent(names: dict[str, str]) -> dict[str, bytes]:
    found = {}
    for name, colour in names.items():
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
        found[name] = buffer.getvalue()
    return found


@pytest.mark.parametrize(
    ("table", "names", "expected"),
    [
        ("id,title\na,x\nb,y\n", {"a.png": "teal", "b.png": "red"}, ["a.png", "b.png"]),
        ("id,title\na,x\nb,y\n", {"a.png": "teal"}, ["a.png", None]),
        ("id,title,IMAGE\na,x,q.png\nb,y,/etc/q.png\n", {"q.png": "teal"}, ["q.png", "q.png"]),
    ],
)
def test_pictures_that_are_sent_with_drafts(
    opened: Studio, table: str, names: dict[str, str], expected: list[str | None]
) -> None:
    """By the drafts' ids, or by the column of the table; of a path only the name counts."""
    model, sent = opened.model.scorer, _sent(names)
    column = next(name for name, role in model.roles.items() if role == "image")
    found = sent_drafts(table.replace("IMAGE", column), model, sent)[column]
    assert found.tolist() == [None if name is None else sent[name] for name in expected]


@pytest.mark.parametrize(
    ("table", "names", "said"),
    [
        ("id,title,IMAGE\na,x,r.png\n", {"q.png": "red"}, "'r.png', which was not sent with it"),
        ("id,title\na,x\n", {"q.png": "red"}, "'q.png' was sent, but no draft names it"),
    ],
)
def test_pictures_that_do_not_fit_drafts(
    opened: Studio, table: str, names: dict[str, str], said: str
) -> None:
    """Neither is left out without a word."""
    model = opened.model.scorer
    column = next(name for name, role in model.roles.items() if role == "image")
    with pytest.raises(DatasetError, match=said):
        sent_drafts(table.replace("IMAGE", column), model, _sent(names))


def test_a_plan_of_pictures(opened: Studio) -> None:
    """By a network, whose past errors are known; a path that nobody sent is not opened."""
    studio = copy.copy(opened)
    prior = Prior(slope=1.0, deviation=0.2, overdispersion=1.0, tests=20)
    studio.errors = PastErrors(prior=prior, shift=0.0, deviation=0.4)
    client = TestClient(dashboard_app(studio, Protection(None, True)), base_url="http://127.0.0.1")
    column = next(name for name, role in opened.model.scorer.roles.items() if role == "image")
    table = f"id,title,{column}\na,free sale today,q.png\nb,last chance today,r.png\n"
    names = _sent({"q.png": "teal", "r.png": "red"})
    files = [("pictures", (name, data, "image/png")) for name, data in names.items()]
    found = client.post("/plan", data={"drafts": table, "arms": "2"}, files=files)
    assert found.status_code == 200, found.text
    assert f"has no {column}" not in found.text
    unsent = client.post("/plan", data={"drafts": table, "arms": "2"})
    assert unsent.status_code == 400
    assert "which was not sent with it" in unsent.text
    without = client.post("/plan", data={"drafts": table.replace(column, "other"), "arms": "2"})
    assert f"has no {column}" in without.text
    broken = client.post(
        "/plan", data={"drafts": table, "arms": "2"},
        files=[*files[:1], ("pictures", ("r.png", b"no picture", "image/png"))],
    )  # fmt: skip
    assert broken.status_code == 400
