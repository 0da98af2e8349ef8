"""What the page sends, checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ni_platform.dashboard.draft import MAX_TEXT, Draft
from ni_platform.dashboard.what_if import Edit, PaintedCell, TextEdit
from ni_platform.errors import ContentError, TooLargeError

MAX_REQUEST = 2 * 2**20
"""Bytes of a request that is not an upload."""
MAX_FILES = 64 * 2**20
"""Bytes of a request with files."""
_MOST_FILES = 101
"""A table, and a picture for each of as many drafts as a page plans."""

_Text = Annotated[str, Field(max_length=MAX_TEXT)]
_Short = Annotated[str, Field(max_length=1000)]
Form = TypeVar("Form", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DraftForm(_Strict):
    """A content as the page holds it."""

    row: int | None = Field(default=None, ge=0)
    domain: _Short = ""
    texts: dict[_Short, _Text] = {}
    attributes: dict[_Short, _Short] = {}
    picture: _Short | None = None

    def draft(self) -> Draft:
        """As the studio takes it."""
        return Draft(
            row=self.row,
            domain=self.domain,
            texts=self.texts,
            attributes=self.attributes,
            picture=self.picture,
        )


class ScoreForm(_Strict):
    """A content to score."""

    draft: DraftForm


class PlanForm(BaseModel):
    """A test to plan, as a form without script sends it: all fields are texts."""

    model_config = ConfigDict(extra="forbid")

    drafts: Annotated[str, Field(max_length=MAX_REQUEST)] = ""
    control: _Short = ""
    traffic: Annotated[str, Field(max_length=15)] = ""
    arms: Annotated[int, Field(ge=2, le=50)] = 4

    @property
    def impressions(self) -> int | None:
        """Of the whole test, None where nothing was said.

        Raises:
            ContentError: It is no number.
        """
        digits = re.sub(r"[\s,.]", "", self.traffic)
        if not digits.isdecimal() and digits:
            raise ContentError(
                f"Impressions of the test are a number such as 20,000, but got {self.traffic!r}: "
                "correct it, or leave it empty."
            )
        return int(digits) if digits else None


class RecordForm(BaseModel):
    """A plan to record, by the key that the page has of it."""

    model_config = ConfigDict(extra="forbid")

    plan: _Short


class ExplainForm(_Strict):
    """A modality to explain."""

    draft: DraftForm
    modality: _Short


class TextForm(_Strict):
    """A phrase to replace or drop."""

    kind: Literal["text"]
    column: _Short
    phrase: _Short
    replacement: _Short = ""

    def edit(self) -> Edit:
        """As the studio takes it."""
        return TextEdit(column=self.column, phrase=self.phrase, replacement=self.replacement)


class CellForm(_Strict):
    """A region to paint over."""

    kind: Literal["cell"]
    row: int
    column: int

    def edit(self) -> Edit:
        """As the studio takes it."""
        return PaintedCell(row=self.row, column=self.column)


class WhatIfForm(_Strict):
    """An edit of a content."""

    draft: DraftForm
    edit: Annotated[TextForm | CellForm, Field(discriminator="kind")]


async def body(request: Request, limit: int, message: str) -> bytes:
    """The whole body, read no further than `limit` bytes.

    Raises:
        TooLargeError: there is more of it.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLargeError(message)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLargeError(message)
        parts.append(part)
    return b"".join(parts)


async def read_fields(kind: type[Form], request: Request) -> Form:
    """The fields of a form that a browser sends without script; raises as `read_form`."""
    sent = await _sent(request)
    fields = dict(parse_qsl(sent.decode("utf-8", "replace"), keep_blank_values=True))
    return _checked(lambda: kind.model_validate(fields))


@dataclass(frozen=True)
class SentFile:
    """A file of a form."""

    field: str
    name: str
    data: bytes


async def read_files(kind: type[Form], request: Request) -> tuple[Form, list[SentFile]]:
    """The fields and files of a form that a browser sends without script; raises as `read_form`."""
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal() or int(declared) > MAX_FILES:
        raise TooLargeError(
            f"Drafts and pictures have at most {MAX_FILES:,} bytes together: send fewer, or "
            "smaller pictures."
        )
    fields: dict[str, str] = {}
    files: list[SentFile] = []
    try:
        async with request.form(max_files=_MOST_FILES, max_part_size=MAX_REQUEST) as form:
            for name, value in form.multi_items():
                if isinstance(value, str):
                    fields[name] = value
                elif value.filename:  # a browser sends an empty one where none was chosen
                    files.append(SentFile(name, PurePath(value.filename).name, await value.read()))
    except HTTPException as error:
        raise ContentError(f"The form cannot be read ({error.detail}): send it again.") from error
    return _checked(lambda: kind.model_validate(fields)), files


async def read_form(kind: type[Form], request: Request) -> Form:
    """A request's JSON.

    Raises:
        ContentError: it is not what the page sends.
        TooLargeError: it is too long.
    """
    sent = await _sent(request)
    return _checked(lambda: kind.model_validate_json(sent))


async def _sent(request: Request) -> bytes:
    message = f"A request has at most {MAX_REQUEST:,} bytes: shorten the texts."
    return await body(request, MAX_REQUEST, message)


def _checked(read: Callable[[], Form]) -> Form:
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the request"
        raise ContentError(
            f"{where[:120]} does not fit ({first['msg']}): correct it, or reload the page."
        ) from error
