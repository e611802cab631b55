"""Who may use the page: only the browser that opened the printed address."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "graphfew_annotate"
SAFE_METHODS = ("GET", "HEAD")
# Scripts, styles and images come from this server only, and no other page can embed it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # `no-referrer` would make browsers send `Origin: null` with forms of our own pages.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
FORBIDDEN = "Open the address that graphfew annotate printed when it started."


@dataclasses.dataclass(frozen=True)
class Access:
    """The secret of one server.

    The pages are below a path that is derived from the secret, and the cookie with the secret is
    sent for this path only. Cookies do not depend on the port, so another server on this computer
    would receive one of the path `/`.

    Attributes:
        token: the secret.
        port: the port of the server.

    Example:
        >>> access = Access("secret", 8421)
        >>> access.address.startswith("http://127.0.0.1:8421/")
        True
    """

    token: str
    port: int

    @property
    def base(self) -> str:
        """Path of all pages, without a final slash."""
        return "/" + hashlib.sha256(f"path {self.token}".encode()).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The address to open first."""
        return f"http://127.0.0.1:{self.port}{self.base}/?token={self.token}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Accepted values of the header Host."""
        # Browsers omit the port of HTTP.
        port = "" if self.port == 80 else f":{self.port}"
        return tuple(f"{name}{port}" for name in ("127.0.0.1", "localhost"))

    def is_token(self, text: str | None) -> bool:
        """Compare a text with the token, in constant time."""
        return hmac.compare_digest((text or "").encode(), self.token.encode())


def new_access(port: int) -> Access:
    """Return an `Access` with a random token.

    Args:
        port: the port of the server.

    Returns:
        The access.
    """
    return Access(secrets.token_urlsafe(24), port)


class AccessMiddleware:
    """Rejects requests of other pages, hosts and users, before they reach the application.

    A request needs the Host of this server, against DNS rebinding; the token as a cookie; and, if
    it can change something, the Origin of this server.

    Args:
        app: the application.
        access: the secret.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        response = self._early_response(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = ((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
                present = {name for name, _ in message.get("headers", ())}
                extra = [pair for pair in added if pair[0] not in present]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await (response or self._app)(scope, receive, send_with_headers)

    def _early_response(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """A response without the application: a refusal, or the page that stores the cookie."""
        access = self._access
        host = headers.get("host", "")
        if host not in access.hosts:
            return PlainTextResponse(f"The host {host!r} is not this server's.", 403)
        if scope["method"] not in SAFE_METHODS and headers.get("origin") != f"http://{host}":
            return PlainTextResponse("The request comes from another page.", 403)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == f"{access.base}/" and access.is_token(query.get("token", [""])[0]):
            return _storing_page(access)
        if not any(map(access.is_token, _cookies(headers.get("cookie", "")))):
            return PlainTextResponse(FORBIDDEN, 403)
        return None


def _storing_page(access: Access) -> Response:
    # A redirect would not send a strict cookie if the link was on a page of another site, such as a
    # terminal in the browser; a refresh of our own page does.
    target = f"{access.base}/label"
    page = HTMLResponse(
        '<!doctype html><title>graphfew</title><link rel="icon" href="data:,">'
        f'<meta http-equiv="refresh" content="0;url={target}">'
        f'<a href="{target}">Continue</a>'
    )
    page.set_cookie(COOKIE, access.token, path=access.base, httponly=True, samesite="strict")
    return page


def _cookies(header: str) -> list[str]:
    """Values of all cookies of this name.

    `http.cookies` would lose them if a cookie of another server on this computer is not of its form.
    """
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return [value for name, _, value in pairs if name == COOKIE]
