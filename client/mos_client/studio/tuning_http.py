"""The part of the studio's HTTP interface that prepares, tunes and shares concepts."""

from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from PIL import Image
from starlette.concurrency import run_in_threadpool

from mos_client.pictures.contact import tinted
from mos_client.studio.files import MissingError
from mos_client.studio.project import projects
from mos_client.studio.sharing import leaving, share
from mos_client.studio.studio import Studio
from mos_client.studio.tuning import TuneOptions
from mos_client.studio.uploads import UploadLimits, decoded
from mos_client.studio.worker import Worker
from mos_model.errors import DataError
from mos_model.layouts.layout_file import parsed_json
from mos_model.layouts.picture_file import picture_bytes
from mos_model.layouts.preview import contact_sheet
from mos_pages import body
from mos_runtime.files import read_whole

_SHOWN: Final = (640, 640)
"""Pictures are shown no larger: in pixels."""

_ROOT: Final = "/api/tunings/{name}"


def add_tuning(
    app: FastAPI, studio: Studio, worker: Worker, limits: UploadLimits
) -> None:
    """Add the routes."""
    _add_projects(app, studio, limits)
    _add_files(app, studio, limits)
    _add_pictures(app, studio, limits)
    _add_runs(app, studio, worker)


def _add_projects(app: FastAPI, studio: Studio, limits: UploadLimits) -> None:
    @app.get("/api/tunings")
    def names() -> Any:
        found = projects(studio.files.tuning, studio.files.concepts)
        return {
            "tunings": [
                {"name": each.name, "tuned": each.concept.is_file()} for each in found
            ]
        }

    @app.post("/api/tunings")
    async def create(request: Request) -> Any:
        entries = parsed_json(await body(request, limits.max_bytes))
        name = entries.get("name") if isinstance(entries, dict) else None
        project = studio.project(str(name or "").strip().lower())
        project.create()
        return {"name": project.name}

    @app.get(_ROOT)
    def check(name: str) -> Any:
        """What a run would see; the same judgement as `mos-client tune --check`."""
        project = studio.project(name).require()
        run = studio.check(project.request())
        return {
            "check": run.to_dict(),
            "verdict": run.verdict(),
            "options": project.options().to_json(),
            "stopped": project.is_stopped,
            "previews": project.preview_steps(),
            "tuned": project.concept.is_file(),
            "result": project.result(),
        }

    @app.put(f"{_ROOT}/options")
    async def options(request: Request, name: str) -> Any:
        project = studio.project(name).require()
        before = project.options()
        entries = parsed_json(await body(request, limits.max_bytes))
        project.set_options(TuneOptions.from_json(entries))
        try:
            await run_in_threadpool(studio.check, project.request())
        except Exception:
            project.set_options(before)
            raise
        return {}

    @app.delete(_ROOT)
    def delete(name: str) -> Any:
        studio.project(name).require().delete()
        return {}


def _add_files(app: FastAPI, studio: Studio, limits: UploadLimits) -> None:
    @app.post(f"{_ROOT}/pictures")
    async def add(request: Request, name: str, file: str) -> Any:
        project = studio.project(name).require()
        content = await body(request, limits.max_bytes)
        return {"file": await run_in_threadpool(project.add, content, file, limits)}

    @app.delete(f"{_ROOT}/pictures/{{file}}")
    def remove(name: str, file: str) -> Any:
        studio.project(name).require().remove(file)
        return {}

    @app.put(f"{_ROOT}/captions/{{file}}")
    async def caption(request: Request, name: str, file: str) -> Any:
        project = studio.project(name).require()
        entries = parsed_json(await body(request, limits.max_bytes))
        text = entries.get("caption") if isinstance(entries, dict) else None
        if not isinstance(text, str):
            raise DataError("the caption: a text was expected")
        project.set_caption(file, text)
        return {}

    @app.put(f"{_ROOT}/masks/{{file}}")
    async def mask(request: Request, name: str, file: str) -> Any:
        project = studio.project(name).require()
        content = await body(request, limits.max_bytes)
        await run_in_threadpool(project.set_mask, file, content, limits)
        return {}


def _add_pictures(app: FastAPI, studio: Studio, limits: UploadLimits) -> None:
    @app.get(f"{_ROOT}/pictures/{{file}}")
    def picture(name: str, file: str) -> Response:
        path = studio.project(name).require().file(file)
        image = decoded(read_whole(path, what="a picture"), limits).convert("RGB")
        image.thumbnail(_SHOWN)
        return _png(image)

    @app.get(f"{_ROOT}/masks/{{file}}")
    def mask(name: str, file: str) -> Response:
        image = studio.project(name).require().mask(file, limits)
        image.thumbnail(_SHOWN)
        return _png(image)

    @app.get(f"{_ROOT}/crops/{{file}}")
    def crops(name: str, file: str) -> Response:
        """What the model sees of a picture, in a row; outside a mask is tinted."""
        run = studio.check(studio.project(name).require().request())
        for row in run.rows:
            if row[0].picture.path.name == file:
                shown = [tinted(each.image, each.mask) for each in row]
                return _png(contact_sheet(shown, columns=len(shown)))
        raise MissingError("the picture is left out; see the notes")

    @app.get(f"{_ROOT}/previews/{{step}}")
    def preview(name: str, step: int) -> Response:
        return _file(studio.project(name).previews / f"step-{step:06}.png")

    @app.get(f"{_ROOT}/samples/{{number}}")
    def sample(name: str, number: int) -> Response:
        return _file(studio.project(name).samples / f"{number}.png")


def _add_runs(app: FastAPI, studio: Studio, worker: Worker) -> None:
    @app.post(f"{_ROOT}/start")
    def start(name: str, resume: bool = False) -> Any:
        project = studio.project(name).require()
        studio.check(project.request()).flight.require_ready()
        worker.tune(project, resume=resume)
        return {}

    @app.post(f"{_ROOT}/stop")
    def stop(name: str) -> Any:
        worker.stop(name)
        return {}

    @app.get(f"{_ROOT}/leaving")
    def would_leave(name: str) -> Any:
        return leaving(studio.project(name), studio.home)

    @app.get(f"{_ROOT}/concept")
    def concept(name: str) -> Response:
        project = studio.project(name)
        if not project.concept.is_file():
            raise MissingError(f"<{project.name}> is not tuned yet")
        return FileResponse(project.concept, filename=project.concept.name)

    @app.post(f"{_ROOT}/share")
    def shared(name: str) -> Any:
        entry = share(studio.project(name), studio.home)
        worker.notify()
        return entry


def _png(image: Image.Image) -> Response:
    return Response(picture_bytes(image), media_type="image/png")


def _file(path: Path) -> Response:
    if not path.is_file():
        raise MissingError("no such picture (any more)")
    return FileResponse(path, media_type="image/png")
