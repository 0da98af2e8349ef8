"""Uploaded pictures: decoded before they are kept, bounded, in memory only."""

from __future__ import annotations

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from ni_platform.data.images import MAX_BYTES, MAX_PIXELS, decode
from ni_platform.errors import ContentError, TooLargeError

LARGEST = 4_000_000
"""Pixels beyond which an uploaded picture is scaled down: more would only make the page wait."""
_KEPT = 20
_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Upload:
    """A picture that decodes."""

    data: bytes
    """Encoded: as uploaded, or a PNG of it scaled down."""
    width: int
    height: int
    scaled: bool


class Uploads:
    """The last uploads, under random ids; what the client calls a file is never a key or path."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def add(self, data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[str, Upload]:
        """Keep a picture; the oldest ones make room.

        Raises:
            TooLargeError: more bytes than a picture has.
            ImageError: not a picture, or one of too many pixels.
        """
        if len(data) > MAX_BYTES:
            raise TooLargeError(too_large(len(data)))
        if not data:
            raise ContentError("An upload is a picture, but it is empty: choose a JPEG or PNG.")
        picture = decode(data, max_pixels=max_pixels)
        scaled = picture.width * picture.height > LARGEST
        if scaled:
            scale = (LARGEST / (picture.width * picture.height)) ** 0.5
            picture = picture.resize(
                (max(1, int(picture.width * scale)), max(1, int(picture.height * scale))),
                reducing_gap=3.0,
            )
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", compress_level=1)
            data = buffer.getvalue()
        upload = Upload(data, picture.width, picture.height, scaled)
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._kept[key] = upload
            while len(self._kept) > _KEPT or (
                len(self._kept) > 1
                and sum(len(kept.data) for kept in self._kept.values()) > _KEPT_BYTES
            ):
                self._kept.popitem(last=False)
        return key, upload

    def get(self, key: str) -> Upload:
        """A kept picture.

        Raises:
            ContentError: it was never there, or has made room for later ones.
        """
        with self._lock:
            if key not in self._kept:
                raise ContentError(
                    f"This uploaded picture is no longer kept (the last {_KEPT} are): upload it "
                    "again."
                )
            self._kept.move_to_end(key)
            return self._kept[key]


def too_large(size: int | None = None) -> str:
    """What to say of an upload with too many bytes."""
    has = "more" if size is None else f"{size:,}"
    return f"A picture has at most {MAX_BYTES:,} bytes, but this upload has {has}: scale it down."
