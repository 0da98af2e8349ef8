"""Who may ask the dashboard, and what a browser may do with its answers."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

COOKIE = "ni_dashboard"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" a form of this very page would come from the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Protection:
    """Middleware: a token where others can reach the server, hosts and origins, headers."""

    token: str | None
    """What a visitor must know; None on loopback without one."""
    loopback: bool
    """Whether the server listens on loopback only. Then names other than its own are refused: a
    foreign page whose name is made to point here (DNS rebinding) must not read what is here."""

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Refuse, or answer with the headers."""
        response = self._refusal(request) or self._welcome(request) or await call_next(request)
        response.headers.update(_HEADERS)
        return response

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self.loopback and _name(host) not in _LOOPBACK:
            return PlainTextResponse(
                "This dashboard answers on 127.0.0.1 and localhost only; start it with --host to "
                "serve others.",
                421,
            )
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if request.method not in ("GET", "HEAD") and (
            foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
        ):
            return PlainTextResponse("Requests from other sites are refused.", 403)
        return None

    def _welcome(self, request: Request) -> Response | None:
        """Ask for the token; on the first visit with it, keep it in a cookie and out of the URL."""
        if self.token is None:
            return None
        query = parse_qsl(request.url.query, keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and request.method == "GET" and self._right(given):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # Never a path that could be read as another host's.
            path = "/" + request.url.path.lstrip("/")
            found = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            found.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
            return found
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._right(bearer.strip()):
            return None
        if self._right(_cookie(request)):
            return None
        return PlainTextResponse(
            "This dashboard asks for a token: open the address that `ni dashboard` printed, or "
            "send it as Authorization: Bearer TOKEN.",
            401,
            {"WWW-Authenticate": "Bearer"},
        )

    def _right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self.token or "").encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _cookie(request: Request) -> str:
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""
