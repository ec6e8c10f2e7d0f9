"""The studio's HTTP interface: JSON and pictures for the page, nothing else.

Errors are `{"error": "one line"}`. All work on models is the worker's; what is served
here reads and writes files of the site's home.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from mos_client.studio.files import MissingError
from mos_client.studio.gallery import add_gallery
from mos_client.studio.order import Order
from mos_client.studio.studio import Studio
from mos_client.studio.tuning_http import add_tuning
from mos_client.studio.uploads import UploadLimits, checked_upload, store_upload
from mos_client.studio.worker import Worker
from mos_model.layouts.layout_file import parsed_json
from mos_pages import Guard, Keys, body, new_app

_PAGE: Final = Path(__file__).parent / "page"
_WAIT_SECONDS: Final = 4.0
"""Less than the grace that `mos_pages.serving` gives at the end: an open page does not
hold it up, nor is it cut off."""

_CONTROLS: Final = ("mini-adapter", "mini-controlnet")


def studio_app(
    studio: Studio,
    keys: Keys,
    *,
    worker: Worker | None = None,
    limits: UploadLimits | None = None,
) -> Guard:
    """The studio as an ASGI application.

    Args:
        studio: Whose.
        keys: Who may come in.
        worker: What draws; a new one where None.
        limits: Of uploads.
    """
    drawing = worker or Worker(studio)
    bounds = limits or UploadLimits()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        drawing.start()
        yield
        await run_in_threadpool(drawing.close)

    app = new_app(_PAGE, keys, lifespan=life, statuses={MissingError: 404})
    _add_studio(app, studio, drawing)
    _add_queue(app, drawing, bounds)
    _add_layouts(app, studio, bounds)
    add_tuning(app, studio, drawing, bounds)
    add_gallery(app, studio, drawing, lambda request: body(request, bounds.max_bytes))
    return Guard(app, keys)


def _add_studio(app: FastAPI, studio: Studio, worker: Worker) -> None:
    @app.get("/api/studio")
    def about() -> Any:
        """What the page needs once: base, settings, releases."""
        from mos_model.sampling.settings import Given, SamplingSettings

        outline = studio.outline
        return {
            "site": studio.home.name() or "",
            "base": outline.name,
            "fingerprint": outline.inventory.base,
            "size": outline.size,
            "cell": outline.cell,
            "settings": asdict(SamplingSettings.of(outline, Given())),
            "schedulers": _schedulers(outline.scheduler),
            "controls": _CONTROLS if outline.name == "mini" else (),
            "releases": [each.version for each in studio.releases()],
        }

    @app.get("/api/releases")
    def releases() -> Any:
        found = []
        for each in studio.releases():
            entries: dict[str, Any] = {"version": each.version, "error": each.error}
            if each.facts is not None:
                entries |= asdict(each.facts)
                del entries["tensors"]
                entries["concepts"] = [
                    asdict(one) | {"key": one.key} for one in each.facts.concepts
                ]
            found.append(entries)
        return {"releases": found}

    @app.get("/api/concepts")
    def concepts(model: str = "newest") -> Any:
        cards = studio.concepts(Order.from_json({"layout": {}, "model": model}).model)
        found = []
        for card in cards:
            there = (studio.files.thumbnails / f"{card.thumbnail}.png").is_file()
            if not there:
                worker.add_thumbnail(card.thumbnail, card.key, model)
            url = f"/api/thumbnails/{card.thumbnail}" if there else None
            found.append(asdict(card) | {"thumbnail": url})
        return {"concepts": found}

    @app.get("/api/thumbnails/{id_}")
    def thumbnail(id_: str) -> Response:
        return FileResponse(studio.files.thumbnail(id_), media_type="image/png")


def _add_queue(app: FastAPI, worker: Worker, limits: UploadLimits) -> None:
    @app.get("/api/jobs")
    def changes(seen: int = 0) -> Any:
        """All orders; answers when something is newer than `seen`, or after 4 s."""
        return worker.changes(seen, _WAIT_SECONDS)

    @app.post("/api/jobs")
    async def add(request: Request) -> Any:
        content = await body(request, limits.max_bytes)
        order = Order.from_json(parsed_json(content))
        return {"id": (await run_in_threadpool(worker.add, order)).id}

    @app.delete("/api/jobs/{id_}")
    def cancel(id_: str) -> Any:
        worker.cancel(id_)
        return {}

    @app.get("/api/jobs/{id_}/preview")
    def preview(id_: str) -> Response:
        content = worker.preview(id_)
        if content is None:
            raise MissingError("no preview of it now")
        return Response(content, media_type="image/png")


def _add_layouts(app: FastAPI, studio: Studio, limits: UploadLimits) -> None:
    files = studio.files

    @app.post("/api/uploads")
    async def upload(request: Request, kind: str = "mask") -> Any:
        content = await body(request, limits.max_bytes)
        name = await run_in_threadpool(
            lambda: store_upload(
                content, files.layouts, mask=kind == "mask", limits=limits
            )
        )
        return {"name": name}

    @app.get("/api/uploads/{name}")
    def uploaded(name: str) -> Response:
        checked_upload(name, files.layouts)
        return FileResponse(files.layouts / name, media_type="image/png")

    @app.get("/api/layouts")
    def names() -> Any:
        return {"names": files.layout_names()}

    @app.get("/api/layouts/{name}")
    def layout(name: str) -> Any:
        return {"layout": files.read_layout(name, studio.outline.size)}

    @app.put("/api/layouts/{name}")
    async def save(request: Request, name: str) -> Any:
        content = await body(request, limits.max_bytes)
        files.save_layout(name, parsed_json(content), studio.outline.size)
        return {"name": name, "file": str(files.layout_path(name))}


def _schedulers(own: Any) -> list[str]:
    """The schedulers that a base's own can be exchanged for."""
    return sorted({each.__name__ for each in own.compatibles})
