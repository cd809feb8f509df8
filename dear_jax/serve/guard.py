"""Who may talk to the server: pages of its own, on this machine or with a token."""

import hmac
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_COOKIE = "dear_token"
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests of other sites, and without a token those of other machines.

    A request whose Host names another machine comes by a name that was made to point
    here (DNS rebinding), one whose Origin is another from another site's page.

    Args:
      app: what is guarded.
      token: what every request must have, as ?token=... once, then by its cookie, or
        by `Authorization: Bearer`; "": none, and Host must be this machine.
    """

    def __init__(self, app: ASGIApp, token: str = ""):
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                added.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._refusal(headers) or self._unknown(scope, headers)
        await (answer or self._app)(scope, receive, with_headers)

    def _refusal(self, headers: Mapping[str, str]) -> JSONResponse | None:
        """The answer to another site's request; None for others."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._token and not is_loopback(_name(host)):
            return _refused(f"host {host!r} is not this machine; open its own address")
        site = headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        if foreign or site not in ("same-origin", "none"):
            return _refused("another site's page may not use this program")
        return None

    def _unknown(self, scope: Scope, headers: Mapping[str, str]):
        """The answer to a request without the token; None for others."""
        if not self._token:
            return None
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token")
        if given and self._fits(given[0]) and scope["method"] == "GET":
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(
                TOKEN_COOKIE, self._token, httponly=True, samesite="strict"
            )
            return answer
        if self._fits(_cookie(headers, TOKEN_COOKIE)) or self._fits(
            headers.get("authorization", "").removeprefix("Bearer ")
        ):
            return None
        return JSONResponse(
            {"detail": "open the whole link that the program printed, with its token"},
            401,
        )

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _name(host: str) -> str:
    """The name in "name:port"."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _cookie(headers: Mapping[str, str], name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _refused(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, 403)
