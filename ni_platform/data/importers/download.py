"""Pictures at URLs and in S3: each fetched once, checked, and kept in a folder under its URL.

URLs come out of files that others wrote. So that none of them reaches what only this machine may
see, a host's name is resolved once, every address is checked, and the connection goes to a checked
address; the certificate must still be that of the name. Each redirect is checked in the same way.
A proxy would resolve the name once more, so none is used.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import urljoin

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse
from urllib3.util import Url, parse_url

from ni_platform.data import storage
from ni_platform.data.images import MAX_BYTES, ending, probe
from ni_platform.errors import ImageError, clause
from ni_platform.version import __version__

Address = IPv4Address | IPv6Address

_THREADS = 8
_CHUNK_BYTES = 1 << 16
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IPv6 has given out for the public Internet."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet.

    None of a private, shared, loopback, link-local (where clouds keep credentials), multicast or
    reserved network, nor of a tunnel, whose far end nobody has checked.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in _UNICAST or address.sixtofour is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """What a picture may take, and where it may come from."""

    max_bytes: int = MAX_BYTES
    seconds: float = 60
    """For one picture with all its redirects."""
    redirects: int = 5
    allowed: Callable[[Address], bool] = is_public
    """Which addresses may be connected to."""


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """What became of each URL: it is in one of the two."""

    files: dict[str, Path]
    """URL -> its picture in the cache."""
    failed: dict[str, str]
    """URL -> why there is none."""


def download_pictures(
    urls: Iterable[str],
    cache: str | Path,
    *,
    limits: DownloadLimits | None = None,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> Downloads:
    """Fetch pictures by several threads, unless `cache`, a local folder, has them already.

    URLs are http(s) or `s3://`. Each picture is decoded once: what a server says of its type is
    not trusted. A file of the cache is `SHA256OFURL-SHA256OFBYTES.ENDING`, see `dataset_name`; it
    appears when it is whole. Failures are not kept, so that another call tries them again.
    `on_picture` is told how many are done.

    Raises:
        DatasetError: The cache cannot be written, or the S3 store refuses its user.

    """
    limits, folder = limits or DownloadLimits(), Path(cache)
    kept = {path.name[:64]: path for path in folder.glob("[0-9a-f]*-*.*")}
    asked = list(dict.fromkeys(urls))
    files: dict[str, Path] = {}
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda url: _picture(url, folder, kept, limits), asked)
        for done, (url, result) in enumerate(zip(asked, found), start=1):
            if isinstance(result, Path):
                files[url] = result
            else:
                failed[url] = result
            on_picture(done, len(asked))
    return Downloads(files=files, failed=failed)


def dataset_name(file: Path) -> str:
    """Return the name that a file of the cache has in a dataset: SHA-256 of its bytes, and ending.

    Not the id or the URL: they may hold what no file's name can, one picture behind many of them is
    kept once, and a picture that changed at its URL does not look like the one before.
    """
    return file.name.split("-", 1)[1]


def _picture(url: str, folder: Path, kept: dict[str, Path], limits: DownloadLimits) -> Path | str:
    """The file of a URL's picture, or why there is none."""
    key = hashlib.sha256(url.encode()).hexdigest()
    if key in kept and dataset_name(kept[key]).startswith(storage.sha256(kept[key])):
        return kept[key]
    try:
        data = _object(url, limits) if storage.is_remote(url) else _fetched(url, limits)
        probed = probe(data)
        if probed.problem is not None:
            return probed.problem
        name = f"{key}-{probed.sha256}.{ending(data)}"
    except (ImageError, storage.MissingFileError) as error:
        return str(error)
    except (HTTPError, HTTPException, OSError) as error:
        return f"It cannot be fetched ({clause(error)}): check the URL, and repeat the import."
    storage.write_bytes(folder / name, data)
    return folder / name


def _object(uri: str, limits: DownloadLimits) -> bytes:
    """The bytes of an S3 object."""
    _check_size(storage.size(uri), limits)
    return storage.read_bytes(uri)


def _fetched(url: str, limits: DownloadLimits) -> bytes:
    """The bytes at a URL, redirects followed."""
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        with _answer(url, limits, deadline) as answer:
            if answer.status not in _REDIRECTS:
                return _body(answer, limits, deadline)
            url = urljoin(url, answer.headers.get("Location", ""))
    raise ImageError(
        f"At most {limits.redirects} redirects are followed, and {url} would be one more: give "
        "the URL where they end."
    )


@contextmanager
def _answer(url: str, limits: DownloadLimits, deadline: float) -> Iterator[HTTPResponse]:
    """Ask for a URL; its errors say that time was up where that is why."""
    place = _parsed(url)
    connection = _connected(place, limits, deadline)
    # A server that sends a byte now and then keeps within the time of every single read.
    watch = threading.Timer(max(0, deadline - time.monotonic()), _cut, [connection.sock])
    watch.start()
    try:
        connection.request(
            "GET",
            place.request_uri,
            headers={
                "Host": place.netloc or "",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
                "User-Agent": f"ni-platform/{__version__}",
            },
            preload_content=False,
            decode_content=False,
        )
        yield connection.getresponse()
    except (HTTPError, HTTPException, OSError):
        _check_time(deadline, limits)
        raise
    finally:
        watch.cancel()
        connection.close()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connected.shutdown(socket.SHUT_RDWR)


def _body(answer: HTTPResponse, limits: DownloadLimits, deadline: float) -> bytes:
    if answer.status != 200:
        raise ImageError(
            f"The server must answer 200, but answers {answer.status}: check the URL, and whether "
            "anyone may open it."
        )
    data = bytearray()
    while piece := answer.read1(_CHUNK_BYTES):
        data += piece
        _check_size(len(data), limits)
    _check_time(deadline, limits)  # a connection that was cut ends like a body without a length
    return bytes(data)


def _check_size(size: int, limits: DownloadLimits) -> None:
    if size > limits.max_bytes:
        raise ImageError(
            f"A picture may have {limits.max_bytes:,} bytes, and this one has more: scale it down."
        )


def _check_time(deadline: float, limits: DownloadLimits) -> None:
    if time.monotonic() >= deadline:
        raise ImageError(
            f"A picture may take {limits.seconds:g} seconds, and this one took longer: repeat the "
            "import, or put the picture into a folder."
        )


def _parsed(url: str) -> Url:
    place = parse_url(url)
    if place.scheme not in _PORTS or not place.host or place.auth:
        raise ImageError(
            f"A picture's URL must read http(s)://HOST/PATH, without a user name, but is {url!r}: "
            "correct it, or download the picture into a folder."
        )
    return place


def _connected(
    place: Url, limits: DownloadLimits, deadline: float
) -> HTTPConnection | HTTPSConnection:
    """A connection to an allowed address of the host, the first that answers."""
    host, port = str(place.host).strip("[]"), place.port or _PORTS[str(place.scheme)]
    addresses = _addresses(host, port, limits.allowed)
    for tried, address in enumerate(addresses, start=1):
        seconds = max(0.001, deadline - time.monotonic())
        connection: HTTPConnection | HTTPSConnection
        if place.scheme == "https":
            connection = HTTPSConnection(
                str(address),
                port,
                timeout=seconds,
                ssl_context=ssl.create_default_context(),
                server_hostname=host,
            )
        else:
            connection = HTTPConnection(str(address), port, timeout=seconds)
        try:
            connection.connect()
        except (HTTPError, OSError):
            connection.close()
            _check_time(deadline, limits)
            if tried == len(addresses):
                raise
        else:
            return connection
    raise ImageError(f"{host} has no address: check the URL.")


def _addresses(host: str, port: int, allowed: Callable[[Address], bool]) -> list[Address]:
    """Addresses of a host, each of them allowed.

    Other ways to write an address, such as 2130706433, are the system's to read: what it makes of
    them is checked like any other.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageError(f"{host} has no address ({error}): check the URL.") from error
    addresses = [ipaddress.ip_address(item[4][0]) for item in found]
    refused = [address for address in addresses if not allowed(address)]
    if refused:
        raise ImageError(
            f"Pictures come from public addresses only, but {host} is {refused[0]}: put the "
            "picture where anyone may open it, or into a folder."
        )
    return addresses
