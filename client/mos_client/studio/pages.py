"""The page itself, the way in, and the gallery."""

import html
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from mos_client.studio.guard import Keys
from mos_client.studio.studio import Studio
from mos_client.studio.worker import Worker

_SIGNATURE = b"\x89PNG"
_MOST_SHOWN = 300


def add_pages(app: FastAPI, folder: Path, keys: Keys) -> None:
    """`/`, and `/login` for those without the token."""

    @app.get("/")
    def index() -> Response:
        text = (folder / "index.html").read_text("utf-8")
        response = HTMLResponse(text.replace("{{token}}", html.escape(keys.page)))
        keys.set_cookie(response)
        return response

    @app.get("/login")
    def ask() -> Response:
        return HTMLResponse((folder / "login.html").read_text("utf-8"))

    @app.post("/login")
    async def enter(request: Request) -> Response:
        content = b""
        async for chunk in request.stream():
            content = (content + chunk)[:4096]
        given = parse_qs(content.decode("utf-8", "replace")).get("password", [""])[0]
        right = keys.is_password(given, time.monotonic())
        if right:
            response = RedirectResponse("/", status_code=303)
            keys.set_cookie(response)
            return response
        reason = (
            "Wrong password." if right is False else "Too many tries; wait a minute."
        )
        text = (folder / "login.html").read_text("utf-8")
        text = text.replace("<!--reason-->", reason)
        return HTMLResponse(text, status_code=401 if right is False else 429)


def add_gallery(
    app: FastAPI,
    studio: Studio,
    worker: Worker,
    body: Callable[[Request], Awaitable[bytes]],
) -> None:
    """The pictures sampled, and layouts out of them."""
    files = studio.files

    @app.get("/api/pictures")
    def gallery() -> Any:
        found = [path.stem for path in files.gallery()]
        return {"pictures": found[:_MOST_SHOWN], "more": len(found) > _MOST_SHOWN}

    @app.get("/api/pictures/{id_}")
    def picture(id_: str) -> Response:
        return FileResponse(files.picture(id_), media_type="image/png")

    @app.get("/api/pictures/{id_}/layout")
    def layout(id_: str) -> Any:
        return _again(studio, files.picture(id_))

    @app.delete("/api/pictures/{id_}")
    def delete(id_: str) -> Any:
        files.picture(id_).unlink(missing_ok=True)
        worker.tell()
        return {}

    @app.post("/api/open")
    async def opened(request: Request) -> Any:
        """The layout in a file: a picture with its record, or JSON."""
        content = await body(request)
        if not content.startswith(_SIGNATURE):
            return {"layout": files.opened(content, studio.outline.size)}
        return _again(studio, content)


def _again(studio: Studio, picture: Path | bytes) -> Any:
    """How a picture was made, where it was made on this base.

    Raises:
        MosError: it says nothing of it, or was made on another base.
    """
    from mos_model.applying import check_base

    record = studio.files.record(picture)
    check_base(studio.outline, record.base, "the picture")
    return {
        "layout": studio.files.layout_of(record),
        "settings": asdict(record.settings),
        "seed": record.seed,
        "model": dict(record.model),
    }
