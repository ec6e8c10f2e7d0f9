"""The page's HTTP interface: JSON for reading, one POST for each of the buttons.

Errors are `{"error": "one line"}`. Viewers are refused every POST by the guard.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from mos_model.layouts.layout_file import parsed_json
from mos_pages import Access, Guard, Keys, body, new_app
from mos_server.errors import RegistryError
from mos_server.page.acts import Act, Acts
from mos_server.page.evidence import picture_path, read_evidence
from mos_server.page.view import CentreView
from mos_server.registry.registry import Registry

_STATIC: Final = Path(__file__).parent / "static"
_MOST_BYTES: Final = 2**20


@dataclass(frozen=True)
class PageSettings:
    """What the page cannot read from the registry."""

    base: str = "mini"
    """Of all concepts: `mini`, a pipeline directory, or a hub name."""

    address: str = ""
    """host:port at which sites reach the centre, proposed for welcomes."""

    insecure: bool = False
    """Whether the centre serves without TLS."""


def centre_app(registry: Registry, keys: Keys, settings: PageSettings) -> Guard:
    """The page as an ASGI application.

    Args:
        registry: The centre's.
        keys: Who may come in.
        settings: Base and address of the centre.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = new_app(_STATIC, keys, lifespan=life, statuses={})
    view = CentreView(registry.home, registry)
    _add_reading(app, registry, view, settings)
    acts = Acts(registry, base=settings.base, insecure=settings.insecure)
    for name, act in acts.by_name().items():
        _add_act(app, name, act, view)
    return Guard(app, keys)


def _add_reading(
    app: FastAPI, registry: Registry, view: CentreView, settings: PageSettings
) -> None:
    @app.get("/api/about")
    def about(request: Request) -> Any:
        """What the page needs once."""
        return {
            "operator": request.state.access is Access.ALL,
            "base": settings.base,
            "address": settings.address,
            "insecure": settings.insecure,
        }

    @app.get("/api/centre")
    def centre(seen: str = "") -> Any:
        """All but the releases; `seen` alone where nothing has changed since."""
        found = view.centre()
        return {"seen": seen} if found["seen"] == seen else found

    @app.get("/api/releases")
    def releases() -> Any:
        return {"releases": view.releases()}

    @app.get("/api/releases/{version}/report")
    def report(version: int) -> Response:
        """What `mos-server report` writes, as a file."""
        from mos_server.fusion.report.page import render_report  # it brings torch along

        text = render_report(registry.published.report(version))
        name = f"release-{version}-report.html"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type="text/html", headers=headers)

    @app.get("/api/evidence/{digest}")
    def evidence(digest: str) -> Any:
        return read_evidence(registry.home, digest)

    @app.get("/api/evidence/{digest}/{name}")
    def picture(digest: str, name: str) -> Response:
        path = picture_path(registry.home, digest, name)
        return FileResponse(path, media_type="image/png")


def _add_act(app: FastAPI, name: str, act: Act, view: CentreView) -> None:
    @app.post(f"/api/{name}")
    async def _(request: Request) -> Any:
        given = parsed_json(await body(request, _MOST_BYTES))
        if not isinstance(given, dict):
            raise RegistryError(f"{name}: an object is needed")
        done = await run_in_threadpool(act, given)
        view.forget()
        return done
