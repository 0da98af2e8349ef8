"""The dashboard's routes: pages and fragments of pages, all drawn on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.middleware.base import BaseHTTPMiddleware

from ni_platform.dashboard import pictures, words
from ni_platform.dashboard.forms import ExplainForm, ScoreForm, WhatIfForm, body, read_form
from ni_platform.dashboard.protection import Protection
from ni_platform.dashboard.studio import Studio
from ni_platform.dashboard.uploads import too_large
from ni_platform.data.images import MAX_BYTES
from ni_platform.errors import NiError, TooLargeError

Found = TypeVar("Found")


def dashboard_app(studio: Studio, protection: Protection) -> FastAPI:
    """The application around a studio.

    Two threads work for all visitors: one scores, one explains, so that a typed edit is rescored
    while an explanation is still being made, and torch's own threads are not multiplied.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(BaseHTTPMiddleware, dispatch=protection)
    app.mount("/static", StaticFiles(packages=[("ni_platform.dashboard", "static")]))
    scoring = ThreadPoolExecutor(1, thread_name_prefix="scoring")
    explaining = ThreadPoolExecutor(1, thread_name_prefix="explaining")
    draw = _templates()

    async def by(lane: ThreadPoolExecutor, work: Callable[..., Found], *arguments: Any) -> Found:
        return await asyncio.get_running_loop().run_in_executor(lane, work, *arguments)

    @app.exception_handler(NiError)
    async def explained(request: Request, error: NiError) -> Response:
        """One message, in words of ours; never a traceback, never a file's own name as markup."""
        status = 413 if isinstance(error, TooLargeError) else 400
        template = "error_page.html" if request.method == "GET" else "error.html"
        return HTMLResponse(draw(template, message=str(error)), status)

    @app.get("/")
    async def page(content: str = "", find: str = "", domain: str = "") -> Response:
        """The whole page, on one past content."""
        return HTMLResponse(await by(scoring, _page, studio, draw, content, find, domain))

    @app.post("/score")
    async def score(request: Request) -> Response:
        """A content's predicted rate, as a fragment."""
        draft = (await read_form(ScoreForm, request)).draft.draft()

        def work() -> str:
            return draw("score.html", score=studio.score(draft), studio=studio, draft=draft)

        return HTMLResponse(await by(scoring, work))

    @app.post("/advice")
    async def advice(request: Request) -> Response:
        """What insights recommend for a content's domain, as a fragment."""
        draft = (await read_form(ScoreForm, request)).draft.draft()
        found = studio.advice(draft.domain.strip())
        return HTMLResponse(draw("advice.html", advice=found, studio=studio))

    @app.post("/explain")
    async def explain(request: Request) -> Response:
        """Why, for one modality, as a fragment."""
        form = await read_form(ExplainForm, request)
        draft = form.draft.draft()

        def work() -> str:
            found = studio.explain(draft, form.modality)
            return draw(f"explained_{_kind(form.modality)}.html", found=found, draft=draft)

        return HTMLResponse(await by(explaining, work))

    @app.post("/what-if")
    async def what_if(request: Request) -> Response:
        """The predicted change by an edit, as a fragment."""
        form = await read_form(WhatIfForm, request)

        def work() -> str:
            found = studio.what_if(form.draft.draft(), form.edit.edit())
            return draw("what_if.html", found=found, studio=studio)

        return HTMLResponse(await by(scoring, work))

    @app.post("/pictures")
    async def upload(request: Request) -> Response:
        """Keep the picture that is the body; the file's name is a header, shown and forgotten."""
        sent = await body(request, MAX_BYTES, too_large())
        key, kept = await asyncio.to_thread(studio.uploads.add, sent)
        name = unquote(request.headers.get("x-file-name", ""))[:200] or "without a name"
        scaled = "; scaled down" if kept.scaled else ""
        return JSONResponse(
            {
                "picture": f"upload:{key}",
                "said": f"Uploaded picture {name}, {kept.width} × {kept.height} pixels{scaled}",
            }
        )

    @app.get("/pictures/{reference}")
    async def picture(reference: str) -> Response:
        """A picture in the size of the page, encoded anew."""

        def work() -> bytes | None:
            found = studio.picture(reference)
            return None if found is None else pictures.png(found)

        found = await asyncio.to_thread(work)
        return Response(status_code=404) if found is None else Response(found, media_type="image/png")

    return app


def _page(studio: Studio, draw: Callable[..., str], content: str, find: str, domain: str) -> str:
    rows, matches = studio.find(find, domain)
    row = studio.row_of(content) if content else (rows[0] if rows else 0)
    draft = studio.draft(row)
    return draw(
        "page.html",
        studio=studio,
        draft=draft,
        score=studio.score(draft),
        arms=studio.arms(row),
        advice=studio.advice(draft.domain),
        rows=rows,
        matches=matches,
        find=find,
        domain=domain,
    )


def _kind(modality: str) -> str:
    return modality if modality in ("text", "image") else "features"


def _templates() -> Callable[..., str]:
    """Draw a template; whatever goes into one is escaped."""
    environment = Environment(
        loader=PackageLoader("ni_platform.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        rate=words.rate, points=words.points, sign=words.sign, said=words.said
    )
    environment.globals.update(strip=words.strip, grid=pictures.grid_of)

    def draw(name: str, **values: Any) -> str:
        return environment.get_template(name).render(**values)

    return draw
