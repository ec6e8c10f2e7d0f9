"""Who may talk to the studio. Every request passes here before anything else.

1. The Host header names this server: a foreign name that resolves to this machine (DNS
   rebinding) is refused.
2. A session: the cookie that the token in the address, or the password, was exchanged
   for. It is HttpOnly and SameSite=Strict.
3. A request that changes something also brings the page's own token in a header, which
   other sites can neither read nor send: there is no CORS.
4. Every answer forbids scripts, styles and connections but this server's own.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

TOKEN_HEADER: Final = "X-Studio-Token"
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
_MOST_GUESSES: Final = 5
_GUESSES_SECONDS: Final = 60.0


@dataclass
class Keys:
    """The secrets of one run of the server."""

    host: str = "127.0.0.1"
    port: int = 0
    password: str | None = None
    """Asked for where there is no token in the address."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the address that the command prints."""

    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the cookie."""

    page: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """In the page, and in the header of every request that changes something."""

    _guesses: list[float] = field(default_factory=list)

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers share cookies between ports."""
        return f"mos_studio_{self.port}"

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

    def opens(self, token: str) -> bool:
        """Whether it is the address's token."""
        return _same(token, self.token)

    def is_password(self, given: str, now: float) -> bool | None:
        """Whether it is the password; None after too many wrong ones in a minute."""
        self._guesses = [at for at in self._guesses if now - at < _GUESSES_SECONDS]
        if len(self._guesses) >= _MOST_GUESSES:
            return None
        if self.password is not None and _same(given, self.password):
            return True
        self._guesses.append(now)
        return False

    def set_cookie(self, response: Response) -> None:
        """Let a browser in."""
        response.set_cookie(
            self.cookie, self.session, httponly=True, samesite="strict", path="/"
        )


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
        headers = Headers(scope=scope)
        if not self._keys.is_here(headers.get("host", "")):
            return refused(
                421, "this address is not the studio's; open the one printed"
            )
        path, method = scope["path"], scope["method"]
        if path == "/login" or path in ("/studio.css", "/icon.svg"):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        cookies = cookie_parser(headers.get("cookie", ""))
        inside = _same(cookies.get(self._keys.cookie, ""), self._keys.session)
        if path == "/" and method in _READING:
            tokens = query.get("token", [])
            if inside or any(self._keys.opens(each) for each in tokens):
                return None
            if self._keys.password is not None and not tokens:
                return Response(status_code=303, headers={"Location": "/login"})
        if not inside:
            return refused(
                401,
                "the token is wrong or old; open the address that `mos-client studio` "
                "printed last",
            )
        token = headers.get(TOKEN_HEADER, "")
        if method not in _READING and not _same(token, self._keys.page):
            return refused(403, f"the header {TOKEN_HEADER} is wrong; reload the page")
        return None


def refused(status: int, reason: str) -> Response:
    """One line of JSON that says why."""
    return JSONResponse({"error": reason}, status_code=status)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
