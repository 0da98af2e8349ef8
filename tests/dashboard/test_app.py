"""The dashboard's routes: what they refuse, and that nothing of a visitor's becomes markup."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ni_platform.dashboard import app as application
from ni_platform.dashboard.app import dashboard_app
from ni_platform.dashboard.protection import Protection, is_loopback

EVIL = "<script>window.hacked=1</script>"
DRAFT = {
    "row": 0,
    "domain": "site1",
    "texts": {"title": "free new home", "subtitle": ""},
    "attributes": {"day": "mon", "price": "1.5"},
    "picture": "content:0",
}


def picture() -> bytes:
    """A PNG of 40 x 30 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_first_view_has_the_prediction_without_any_script(client, studio):
    """It is drawn on the server, with the content's A/B test and recommendations."""
    found = client.get("/", params={"content": "c3"})

    assert found.status_code == 200
    assert "Predicted higher than" in found.text
    assert "predicted alike" in found.text
    assert "Control and treatment side by side" in found.text
    assert "Evidence: randomised A/B tests." in found.text
    assert '<span class="note evidence">randomised A/B tests</span>' in found.text
    assert "last chance" in found.text
    assert "34 of 100" in found.text
    assert "not enough evidence" in found.text
    assert "What the model is worth" in found.text
    assert "got +0.58 clicks per 1,000 impressions." in found.text


def test_without_insights_the_page_says_what_makes_them(opened):
    """And works all the same."""
    page = TestClient(dashboard_app(opened, Protection(None, True)), base_url="http://127.0.0.1")

    assert "ni insights" in page.get("/").text
    assert page.post("/score", json={"draft": DRAFT}).status_code == 200


@pytest.mark.parametrize("modality", ["image", "text", "domain", "attributes"])
def test_every_modality_is_explained(client, modality):
    """As a fragment, with the method it is from."""
    found = client.post("/explain", json={"draft": DRAFT, "modality": modality})

    assert found.status_code == 200
    assert "the model predicts" in found.text


def test_a_change_is_labelled_as_a_prediction_beside_past_agreement(client):
    """With an interval over the models."""
    edit = {"kind": "text", "column": "title", "phrase": "new home", "replacement": "last chance"}

    found = client.post("/what-if", json={"draft": DRAFT, "edit": edit}).text

    assert "The model’s prediction" in found
    assert "9 of 12 pairs, 9 tests" in found
    assert "over 3 models" in found


def test_what_is_typed_never_becomes_markup(client):
    """In texts, domain, attributes, edits and searches."""
    draft = DRAFT | {"texts": {"title": EVIL}, "domain": EVIL, "attributes": {"day": EVIL}}
    edit = {"kind": "text", "column": "title", "phrase": "script", "replacement": EVIL}
    answers = [
        client.post("/score", json={"draft": draft}),
        client.post("/explain", json={"draft": draft, "modality": "text"}),
        client.post("/explain", json={"draft": draft, "modality": EVIL}),
        client.post("/what-if", json={"draft": draft, "edit": edit}),
        client.post("/score", json={"draft": {EVIL: 1}}),
        client.get("/", params={"find": EVIL, "domain": EVIL}),
        client.get("/", params={"content": EVIL}),
        client.get(f"/pictures/{EVIL}"),
    ]

    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    for answer in answers:
        assert "<script>window" not in answer.text
        assert "Traceback" not in answer.text


def test_the_policy_lets_nothing_in_from_elsewhere(client):
    """Neither scripts in the page nor other hosts; nothing is kept by the browser."""
    headers = client.get("/").headers

    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "style=" not in client.get("/").text
    assert "https://" not in client.get("/").text


def test_an_upload_is_scored_and_drawn_anew(client):
    """Its name is said by the page only."""
    sent = client.post("/pictures", content=picture(), headers={"X-File-Name": "%3Cb%3E.png"})

    kept = sent.json()
    assert "<b>.png, 40 × 30 pixels" in kept["said"]
    assert sent.headers["Content-Type"] == "application/json"
    shown = client.get(f"/pictures/{kept['picture']}")
    assert shown.headers["Content-Type"] == "image/png"
    scored = client.post("/score", json={"draft": DRAFT | {"picture": kept["picture"]}})
    assert scored.status_code == 200


def test_hostile_uploads_are_one_message_each(client, monkeypatch):
    """Not a picture, 200 megapixels, a name with markup, too many bytes."""
    large = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(large, "PNG")
    not_one = client.post("/pictures", content=EVIL, headers={"X-File-Name": EVIL})
    bomb = client.post("/pictures", content=large.getvalue())
    monkeypatch.setattr(application, "MAX_BYTES", 1000)
    heavy = client.post("/pictures", content=b"x" * 1001)
    undeclared = client.post("/pictures", content=(b"x" * 400 for _ in range(4)))

    assert [a.status_code for a in (not_one, bomb, heavy, undeclared)] == [400, 400, 413, 413]
    assert "unknown format" in not_one.text
    assert "too large to decode" in bomb.text
    for answer in (not_one, bomb, heavy, undeclared):
        assert answer.text.count('role="alert"') == 1
        assert "<script>" not in answer.text


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/score", "{"),
        ("/score", '{"draft": {"row": -1}}'),
        ("/score", '{"draft": {"row": 99999}}'),
        ("/score", '{"draft": {"texts": {"title": 3}}}'),
        ("/score", '{"draft": {"other": 3}}'),
        ("/what-if", '{"draft": {}, "edit": {"kind": "none"}}'),
        ("/what-if", '{"draft": {}, "edit": {"kind": "cell", "row": 0, "column": 99}}'),
        ("/explain", '{"draft": {}, "modality": "sound"}'),
    ],
)
def test_what_the_page_would_not_send_is_refused(client, path, sent):
    """With 400 and a message, whatever it is."""
    found = client.post(path, content=sent)

    assert found.status_code == 400
    assert 'role="alert"' in found.text


def test_other_names_for_this_machine_are_refused_on_loopback(studio):
    """So that a foreign page whose name was made to point here reads nothing."""
    app = dashboard_app(studio, Protection(None, True))
    statuses = {
        host: TestClient(app, base_url=f"http://{host}").get("/static/dashboard.css").status_code
        for host in (
            "127.0.0.1:9",
            "localhost",
            "[::1]:9",
            "evil.example",
            "127.0.0.1.evil.example",
        )
    }

    assert list(statuses.values()) == [200, 200, 200, 421, 421]


def test_requests_of_other_sites_are_refused(client):
    """A form on a foreign page could send them, though not read the answer."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/pictures", content=picture(), headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1:8050"}
    assert client.post("/pictures", content=picture(), headers=own).status_code == 200


def test_a_token_opens_the_door_once_and_a_cookie_keeps_it_open(studio):
    """The token leaves the address at once."""
    app = dashboard_app(studio, Protection("secret", False))
    visitor = TestClient(app, base_url="http://example.test")

    assert visitor.get("/").status_code == 401
    assert visitor.get("/static/dashboard.js").status_code == 401
    assert visitor.get("/", params={"token": "wrong"}).status_code == 401
    assert visitor.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert visitor.get("/", headers={"Authorization": "Bearer secret"}).status_code == 200
    first = visitor.get("/?token=secret&content=c3", follow_redirects=False)
    assert (first.status_code, first.headers["Location"]) == (303, "/?content=c3")
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "samesite=strict" in first.headers["Set-Cookie"].lower()
    assert visitor.get("/").status_code == 200
    away = visitor.get("http://example.test//evil.example/?token=secret", follow_redirects=False)
    assert away.headers["Location"].startswith("/evil.example")


def test_only_this_machines_own_addresses_are_loopback():
    """An empty host would be every address."""
    assert all(
        is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9")
    )
    assert not any(is_loopback(host) for host in ("0.0.0.0", "", "::", "10.0.0.1", "example.org"))
