"""The gallery: pictures sampled, and layouts out of them."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response

from mos_client.studio.studio import Studio
from mos_client.studio.worker import Worker

_SIGNATURE = b"\x89PNG"
_MOST_SHOWN = 300


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
        worker.notify()
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
    from mos_model.concepts.applying import check_base

    record = studio.files.record(picture)
    check_base(studio.outline, record.base, "the picture")
    return {
        "layout": studio.files.layout_of(record),
        "settings": asdict(record.settings),
        "seed": record.seed,
        "model": dict(record.model),
    }
