"""The way in, and what every answer of a page's server has in common.

Errors are `{"error": "one line"}`. Files under `/shared/` are the design of all pages.
"""

import html
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from mos_pages.guard import Access, Keys, refused
from mos_runtime.errors import MosError

PAGE: Final = Path(__file__).parent / "page"
_MOST_LOGIN_BYTES: Final = 4096
_MEBIBYTE: Final = 2**20


class TooLargeError(MosError):
    """A request's body is larger than is taken."""


def new_app(
    folder: Path,
    keys: Keys,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    statuses: Mapping[type[MosError], int],
) -> FastAPI:
    """A page's application without its API: the page, the way in, errors.

    Args:
        folder: `index.html`, in which `{{token}}` becomes the page's token, "" for
            viewers, and what it loads.
        keys: Who may come in.
        lifespan: What starts and ends with the server.
        statuses: HTTP status by the kind of error; 400 for others.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_errors(app, {TooLargeError: 413, **statuses})
    _add_login(app, keys)

    @app.get("/")
    def index(request: Request) -> Response:
        text = (folder / "index.html").read_text("utf-8")
        access: Access = request.state.access
        token = keys.page if access is Access.ALL else ""
        response = HTMLResponse(text.replace("{{token}}", html.escape(token)))
        keys.set_cookie(response, access)
        return response

    app.mount("/shared", StaticFiles(directory=PAGE))
    app.mount("/page", StaticFiles(directory=folder))
    return app


async def body(request: Request, max_bytes: int) -> bytes:
    """A request's body, read no further than `max_bytes`.

    Raises:
        TooLargeError: it is larger.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > max_bytes:
            raise TooLargeError(
                f"the upload has more than {max_bytes // _MEBIBYTE} MiB; scale the "
                "picture down"
            )
    return bytes(content)


def _add_errors(app: FastAPI, statuses: Mapping[type[MosError], int]) -> None:
    @app.exception_handler(MosError)
    async def _(request: Request, error: MosError) -> Response:
        return refused(statuses.get(type(error), 400), str(error))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        return refused(error.status_code, f"{request.url.path[:80]}: {error.detail}")

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> Response:
        return refused(500, f"internal error: {type(error).__name__}: {error}")


def _add_login(app: FastAPI, keys: Keys) -> None:
    def form(reason: str = "", status: int = 200) -> Response:
        text = (PAGE / "login.html").read_text("utf-8")
        text = text.replace("{{title}}", html.escape(keys.title))
        return HTMLResponse(text.replace("{{reason}}", reason), status_code=status)

    @app.get("/login")
    def login() -> Response:
        return form()

    @app.post("/login")
    async def enter(request: Request) -> Response:
        content = await body(request, _MOST_LOGIN_BYTES)
        given = parse_qs(content.decode("utf-8", "replace")).get("password", [""])[0]
        right = keys.is_password(given, time.monotonic())
        if right is None:
            return form("Too many attempts. Wait a minute.", 429)
        if not right:
            return form("Wrong password.", 401)
        response = RedirectResponse("/", status_code=303)
        keys.set_cookie(response, keys.by_password)
        return response
