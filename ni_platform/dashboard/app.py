"""The dashboard's routes: pages and fragments of pages, all drawn on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import BaseHTTPMiddleware

from ni_platform.dashboard import pictures, words
from ni_platform.dashboard.forms import (
    ExplainForm,
    PlanForm,
    RecordForm,
    ScoreForm,
    WhatIfForm,
    body,
    read_fields,
    read_files,
    read_form,
)
from ni_platform.dashboard.planning import PlannedTest, Planning, plans_tests
from ni_platform.dashboard.protection import Protection
from ni_platform.dashboard.studio import Studio
from ni_platform.dashboard.uploads import too_large
from ni_platform.data.images import MAX_BYTES
from ni_platform.errors import ContentError, NiError, TooLargeError
from ni_platform.reporting.page import templates_of

Sent = TypeVar("Sent")
_UPLOAD_SECONDS = 300
"""After which an upload that does not end makes room for others."""


def dashboard_app(studio: Studio, protection: Protection) -> FastAPI:
    """The application around a studio."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(BaseHTTPMiddleware, dispatch=protection)
    app.mount("/static", StaticFiles(packages=[("ni_platform.dashboard", "static")]))
    routes = _Routes(studio)
    app.exception_handler(NiError)(routes.explained)
    app.get("/")(routes.page)
    app.get("/pictures/{reference}")(routes.picture)
    app.post("/pictures")(routes.upload)
    app.post("/score")(routes.score)
    app.post("/explain")(routes.explain)
    app.post("/advice")(routes.advice)
    app.post("/what-if")(routes.what_if)
    app.get("/plan")(routes.plan_form)
    app.post("/plan")(routes.plan)
    app.post("/plan/record")(routes.record)
    return app


class _Routes:
    """What each address answers.

    Two threads work for all visitors: one scores, one explains, so that a typed edit is rescored
    while an explanation is still being made, and torch's own threads are not multiplied.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._planning = Planning(studio)
        self._scoring = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explaining")
        # As many large pictures as memory should hold at once.
        self._uploads = asyncio.Semaphore(2)
        self._draw = _templates()

    async def explained(self, request: Request, error: Exception) -> Response:
        """One message, in words of ours; never a traceback, never a file's own name as markup."""
        status = 413 if isinstance(error, TooLargeError) else 400
        template = "error_page.html" if request.method == "GET" else "error.html"
        return HTMLResponse(self._draw(template, message=str(error)), status)

    async def page(self, content: str = "", find: str = "", domain: str = "") -> Response:
        """The whole page, on one past content."""
        return await self._by(self._scoring, self._page, content, find, domain)

    async def score(self, request: Request) -> Response:
        """A content's predicted rate, as a fragment."""
        draft = (await read_form(ScoreForm, request)).draft.draft()

        def work() -> str:
            score = self._studio.score(draft)
            return self._draw("score.html", score=score, studio=self._studio, draft=draft)

        return await self._by(self._scoring, work)

    async def explain(self, request: Request) -> Response:
        """Why, for one modality, as a fragment."""
        form = await read_form(ExplainForm, request)
        draft = form.draft.draft()

        def work() -> str:
            found = self._studio.explain(draft, form.modality)
            return self._draw(f"explained_{_kind(form.modality)}.html", found=found, draft=draft)

        return await self._by(self._explaining, work)

    async def advice(self, request: Request) -> Response:
        """What insights recommend for a content's domain, as a fragment."""
        draft = (await read_form(ScoreForm, request)).draft.draft()
        domain = draft.domain.strip()

        def work() -> str:
            found = self._studio.advice(domain)
            return self._draw("advice.html", advice=found, studio=self._studio, domain=domain)

        return await self._by(self._scoring, work)

    async def what_if(self, request: Request) -> Response:
        """The predicted change by an edit, as a fragment."""
        form = await read_form(WhatIfForm, request)

        def work() -> str:
            found = self._studio.what_if(form.draft.draft(), form.edit.edit())
            return self._draw("what_if.html", found=found, studio=self._studio)

        return await self._by(self._scoring, work)

    async def plan_form(self) -> Response:
        """The page on which a test is planned, still empty."""
        return await self._by(self._scoring, self._plan, PlanForm())

    async def plan(self, request: Request) -> Response:
        """The plan of a test, on the same page; works without script."""
        form, files = await self._received(read_files(PlanForm, request))

        def work() -> str:
            return self._plan(form, self._planning.plan(form, files))

        return await self._by(self._scoring, work)

    async def record(self, request: Request) -> Response:
        """Record a plan that the page has shown, and show it again."""
        form = await read_fields(RecordForm, request)

        def work() -> str:
            shown, found = self._planning.record(form.plan)
            return self._plan(shown, found)

        return await self._by(self._scoring, work)

    async def upload(self, request: Request) -> Response:
        """Keep the picture that is the body; the file's name is a header, shown and forgotten."""
        sent = await self._received(body(request, MAX_BYTES, too_large()))
        key, kept = await asyncio.to_thread(self._studio.uploads.add, sent)
        name = unquote(request.headers.get("x-file-name", ""))[:200] or "without a name"
        scaled = "; scaled down" if kept.scaled else ""
        return JSONResponse(
            {
                "picture": f"upload:{key}",
                "said": f"Uploaded picture {name}, {kept.width} × {kept.height} pixels{scaled}",
            }
        )

    async def _received(self, reading: Awaitable[Sent]) -> Sent:
        """What a visitor uploads, within a time, and not too many at once."""
        async with self._uploads:
            try:
                async with asyncio.timeout(_UPLOAD_SECONDS):
                    return await reading
            except TimeoutError as error:
                raise ContentError(
                    f"An upload takes at most {_UPLOAD_SECONDS} s: send a smaller picture."
                ) from error

    async def picture(self, reference: str) -> Response:
        """A picture in the size of the page, encoded anew."""

        def work() -> bytes | None:
            found = self._studio.picture(reference)
            return None if found is None else pictures.png(found)

        found = await asyncio.to_thread(work)
        if found is None:
            return Response(status_code=404)
        return Response(found, media_type="image/png")

    def _page(self, content: str, find: str, domain: str) -> str:
        studio = self._studio
        rows, matches = studio.find(find, domain)
        row = studio.row_of(content) if content else (rows[0] if rows else 0)
        draft = studio.draft(row)
        return self._draw(
            "page.html",
            studio=studio,
            draft=draft,
            score=studio.score(draft),
            arms=studio.arms(row),
            advice=studio.advice(draft.domain),
            rows=rows,
            matches=matches,
            find=find,
            sought=domain,
            domain=draft.domain,
            plans=plans_tests(studio),
        )

    def _plan(self, form: PlanForm, found: PlannedTest | None = None) -> str:
        return self._draw("plan.html", studio=self._studio, form=form, found=found)

    async def _by(
        self, lane: ThreadPoolExecutor, work: Callable[..., str], *arguments: Any
    ) -> Response:
        """What a thread draws."""
        drawn = asyncio.get_running_loop().run_in_executor(lane, work, *arguments)
        return HTMLResponse(await drawn)


def _kind(modality: str) -> str:
    return modality if modality in ("text", "image") else "features"


def _templates() -> Callable[..., str]:
    """Draw a template; whatever goes into one is escaped."""
    environment = templates_of("ni_platform.dashboard")
    environment.filters.update(
        rate=words.rate,
        points=words.points,
        contribution=words.contribution,
        unit=words.unit,
        sign=words.sign,
        said=words.said,
    )
    environment.globals.update(strip=words.strip, grid=pictures.grid_of)

    def draw(name: str, **values: Any) -> str:
        return environment.get_template(name).render(**values)

    return draw
