"""Who may talk to a page's server. Every request passes here before anything else.

1. The Host header names this server: a foreign name that resolves to this machine (DNS
   rebinding) is refused. An Origin header, where there is one, names it too.
2. A session: the cookie that the token in the address, or the password, was exchanged
   for. It is HttpOnly and SameSite=Strict. Where a page has viewers, a second address
   and the password give a session that only reads.
3. A request that changes something also brings the page's own token in a header, which
   other sites can neither read nor send: there is no CORS. A viewer's page has none.
4. Every answer forbids scripts, styles and connections but this server's own.
"""

import hmac
import html
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

TOKEN_HEADER: Final = "X-Page-Token"
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
_ANY: Final = ("0.0.0.0", "::")
_READING: Final = ("GET", "HEAD")
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OPEN: Final = "/shared/"
"""Design alone: needed before anyone is let in."""

_REFUSAL: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/shared/icon.svg"><link rel="stylesheet" href="/shared/page.css">
<body class="login"><main><div class="card"><h1>{title}</h1>
<p class="problem" role="alert">{reason}</p></div></main></body></html>
"""
_MOST_GUESSES: Final = 5
_GUESSES_SECONDS: Final = 60.0


class Access(Enum):
    """What whoever was let in may do."""

    ALL = "all"
    READING = "reading"


@dataclass
class Keys:
    """One run of a server: what it is called, where it is, and its secrets."""

    title: str
    """What the page is called."""

    command: str
    """The command that serves it."""

    host: str = "127.0.0.1"
    port: int = 0
    password: str | None = None
    """Opens the page without the address's token, for viewers alone where there are
    any; None where nothing but a token does."""

    viewers: bool = False
    """Whether a second address opens the page to those who only read."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the address that the command prints."""

    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the cookie."""

    viewing_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the address for viewers."""

    viewing_session: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In a viewer's cookie."""

    page: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the page, and in the header of every request that changes something."""

    _guesses: list[float] = field(default_factory=list)

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers share cookies between ports."""
        return f"mos_page_{self.port}"

    @property
    def viewing_cookie(self) -> str:
        """The name of a viewer's cookie."""
        return f"{self.cookie}_view"

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return self._address(self.token)

    @property
    def viewing_address(self) -> str:
        """The address to open for those who only read."""
        return self._address(self.viewing_token)

    def _address(self, token: str) -> str:
        shown = "127.0.0.1" if self.host in _ANY else self.host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.port}/?token={token}"

    def is_here(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            name, port = host, "80"
        if int(port) != self.port:
            return False
        if name in _LOCAL or name.strip("[]") == self.host:
            return True
        return self.host in _ANY and _is_address(name.strip("[]"))

    def is_origin(self, origin: str) -> bool:
        """Whether an Origin header names this server's own page."""
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and self.is_here(host)

    def opens(self, token: str) -> Access | None:
        """What an address's token opens."""
        if _same(token, self.token):
            return Access.ALL
        if self.viewers and _same(token, self.viewing_token):
            return Access.READING
        return None

    def inside(self, cookies: Mapping[str, str]) -> Access | None:
        """What a browser's cookies open."""
        if _same(cookies.get(self.cookie, ""), self.session):
            return Access.ALL
        viewing = cookies.get(self.viewing_cookie, "")
        if self.viewers and _same(viewing, self.viewing_session):
            return Access.READING
        return None

    @property
    def by_password(self) -> Access:
        """What the password opens."""
        return Access.READING if self.viewers else Access.ALL

    def is_password(self, given: str, now: float) -> bool | None:
        """Whether it is the password; None after too many wrong ones in a minute."""
        self._guesses = [at for at in self._guesses if now - at < _GUESSES_SECONDS]
        if len(self._guesses) >= _MOST_GUESSES:
            return None
        if self.password is not None and _same(given, self.password):
            return True
        self._guesses.append(now)
        return False

    def set_cookie(self, response: Response, access: Access) -> None:
        """Let a browser in."""
        name, session = self.cookie, self.session
        if access is Access.READING:
            name, session = self.viewing_cookie, self.viewing_session
        response.set_cookie(name, session, httponly=True, samesite="strict", path="/")


class Guard:
    """The rules of this module around an application."""

    def __init__(self, app: Application, keys: Keys) -> None:
        """Guard `app`."""
        self._app, self._keys = app, keys

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refused(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers, keys = Headers(scope=scope), self._keys
        origin = headers.get("origin")
        if not keys.is_here(headers.get("host", "")):
            return refused(
                421,
                f"this address is not the server's; open the one that "
                f"`{keys.command}` printed",
            )
        if origin is not None and not keys.is_origin(origin):
            return refused(403, f"requests from {origin[:80]} are not taken")
        path, reading = scope["path"], scope["method"] in _READING
        if path == "/login" or path.startswith(_OPEN):
            return None
        inside = keys.inside(cookie_parser(headers.get("cookie", "")))
        if path == "/" and reading:
            # A token in the address decides, whatever else this browser has opened.
            inside = self._by_token(scope) or inside
            if inside is None:
                return self._no_way_in(scope)
        if inside is None:
            return refused(401, self._old_token())
        scope.setdefault("state", {})["access"] = inside
        if reading:
            return None
        if inside is Access.READING:
            return refused(
                403,
                "this page only reads; open the operator's address that "
                f"`{keys.command}` gave",
            )
        if not _same(headers.get(TOKEN_HEADER, ""), keys.page):
            return refused(403, f"the header {TOKEN_HEADER} is wrong; reload the page")
        return None

    def _by_token(self, scope: Scope) -> Access | None:
        """What the address's token opens."""
        return next(filter(None, map(self._keys.opens, _tokens(scope))), None)

    def _no_way_in(self, scope: Scope) -> Response:
        """What a browser gets that has no session: the login, or a reason."""
        if self._keys.password is not None and not _tokens(scope):
            return Response(status_code=303, headers={"Location": "/login"})
        return HTMLResponse(
            _REFUSAL.format(
                title=html.escape(self._keys.title),
                reason=html.escape(self._old_token()),
            ),
            status_code=401,
        )

    def _old_token(self) -> str:
        return (
            f"The token is wrong or old. Open the address that `{self._keys.command}` "
            "printed last."
        )


def refused(status: int, reason: str) -> Response:
    """One line of JSON that says why."""
    return JSONResponse({"error": reason}, status_code=status)


def _tokens(scope: Scope) -> list[str]:
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [])


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
