"""One thread that samples and tunes what is ordered, one order after another.

Orders of pictures are on the disk until they are finished, so a studio that was killed
names them at its next start; a tuning run goes on from its last checkpoint. Pictures
are written whole or not at all (`mos_runtime.files`). Pictures come before tuning runs,
and thumbnails last. Whoever watches waits for `changes`; several pages may.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mos_client.studio.job import Job
from mos_client.studio.order import BARE, Order
from mos_client.studio.project import Project
from mos_client.studio.studio import Studio
from mos_client.studio.tuning import TuningJob
from mos_client.tuning.run import TuneCallbacks
from mos_runtime.errors import MosError

if TYPE_CHECKING:
    from mos_client.sampling import SamplingStep
    from mos_client.tuning import TuneProgress

_FINISHED_KEPT: Final = 20
"""Orders that are shown after they ended."""

_MOST_WAITING: Final = 100


class Cancelled(Exception):
    """Raised in the callback of a run to end it."""


class QueueError(MosError):
    """The queue takes no more orders."""


class Worker:
    """The queue and its thread."""

    def __init__(self, studio: Studio) -> None:
        """Take up what an earlier studio left; `start` begins to work."""
        self._studio = studio
        self._changed = threading.Condition()
        self._version = 1
        self._waiting: deque[Job] = deque()
        self._thumbnails: deque[tuple[str, str, str]] = deque()
        self._runs: deque[TuningJob] = deque()
        self._tunings: dict[str, TuningJob] = {}
        self._jobs: dict[str, Job] = {}
        self._base = "loading"
        self._base_error = ""
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="studio", daemon=True)
        for id_, entries in studio.files.waiting().items():
            try:
                order = Order.from_json(entries)
                self._jobs[id_] = Job(id_, order, "interrupted")
            except MosError:
                studio.files.forget(id_)

    def start(self) -> None:
        """Load the base, then work."""
        self._thread.start()

    def close(self) -> None:
        """End after the step that runs now; a tuning run keeps its checkpoint."""
        with self._changed:
            self._closing = True
            self._touch()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def add(self, order: Order) -> Job:
        """Queue an order, whose layout is checked.

        Raises:
            MosError: the layout is none, or too many orders wait.
        """
        self._studio.files.layout(order.layout, self._studio.outline.size)
        now = datetime.now().strftime("%Y%m%d-%H%M%S")
        job = Job(f"{now}-{secrets.token_hex(3)}", order)
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                raise QueueError(f"{_MOST_WAITING} orders wait already; cancel some")
            self._studio.files.remember(job.id, order.to_json())
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._touch()
        return job

    def add_thumbnail(self, id_: str, key: str, model: str) -> None:
        """Draw a concept's thumbnail when nothing else waits."""
        with self._changed:
            if all(waiting[0] != id_ for waiting in self._thumbnails):
                self._thumbnails.append((id_, key, model))
                self._changed.notify_all()

    def cancel(self, id_: str) -> None:
        """End an order, or take it from the list; finished pictures stay."""
        with self._changed:
            job = self._jobs.get(id_)
            if job is None:
                return
            job.cancel = True
            if job.state == "queued":
                self._waiting.remove(job)
                self._end(job, "cancelled")
            elif job.state != "running":
                self._studio.files.forget(id_)
                del self._jobs[id_]
            self._touch()

    def tune(self, project: Project, *, resume: bool) -> None:
        """Queue a tuning run; a new one forgets what the last one left.

        Raises:
            QueueError: one of that name is queued or runs.
        """
        with self._changed:
            now = self._tunings.get(project.name)
            if now is not None and now.state in ("queued", "running", "stopping"):
                raise QueueError(f"<{project.name}> is being tuned already")
            if not resume:
                project.begin_anew()
            job = TuningJob(project.request(resume=resume))
            job.previews = project.preview_steps()
            self._tunings[project.name] = job
            self._runs.append(job)
            self._touch()

    def stop(self, name: str) -> None:
        """Stop a tuning run after its present step; its checkpoint is kept."""
        with self._changed:
            job = self._tunings.get(name)
            if job is None:
                return
            if job.state == "queued":
                self._runs.remove(job)
                job.state = "stopped"
            elif job.state == "running":
                job.state = "stopping"
            self._touch()

    def preview(self, id_: str) -> bytes | None:
        """The newest preview of a running order, a PNG."""
        job = self._jobs.get(id_)
        return None if job is None else job.preview

    def changes(self, seen: int, timeout_seconds: float) -> dict[str, Any]:
        """All orders, as soon as something is newer than `seen`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._version != seen or self._closing, timeout_seconds
            )
            return {
                "version": self._version,
                "base": self._base,
                "base_error": self._base_error,
                "jobs": [job.shown() for job in self._jobs.values()],
                "tunings": {n: job.shown() for n, job in self._tunings.items()},
            }

    def notify(self) -> None:
        """Something else changed that pages show."""
        with self._changed:
            self._touch()

    def _touch(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _work(self) -> None:
        try:
            self._studio.load()
            state, error = "ready", ""
        except MosError as reason:
            state, error = "failed", str(reason)
        with self._changed:
            self._base, self._base_error = state, error
            self._touch()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closing or self._waiting or self._runs or self._thumbnails
                    )
                )
                if self._closing:
                    return
                next_ = self._next()
            next_()

    def _next(self) -> Callable[[], None]:
        """What to do next; something waits."""
        if self._waiting:
            return partial(self._run, self._waiting.popleft())
        if self._runs:
            return partial(self._tune, self._runs.popleft())
        return partial(self._draw_thumbnail, *self._thumbnails.popleft())

    def _run(self, job: Job) -> None:
        with self._changed:
            job.state = "running"
            self._touch()

        def on_step(now: "SamplingStep") -> None:
            if job.cancel or self._closing:
                raise Cancelled
            self._progress(job, now)

        out = self._studio.files.pictures / f"{job.id}.png"
        try:
            self._studio.draw(job.order, out, on_step)
            self._finish(job, "done")
        except Cancelled:
            if job.cancel:
                self._finish(job, "cancelled")
        except MosError as error:
            self._finish(job, "failed", str(error))
        except Exception as error:
            text = f"internal error: {type(error).__name__}: {error}"
            self._finish(job, "failed", text)

    def _tune(self, job: TuningJob) -> None:
        from mos_client.tuning import StopTuning

        with self._changed:
            job.state = "running"
            self._touch()

        def on_phase(text: str) -> None:
            with self._changed:
                job.phase, job.seconds_left = text, None
                self._touch()
            if job.state == "stopping" or self._closing:
                raise StopTuning

        def on_progress(now: "TuneProgress") -> None:
            with self._changed:
                job.progress(now, time.monotonic())
                self._touch()
            if job.state == "stopping" or self._closing:
                raise StopTuning

        def on_preview(step: int) -> None:
            with self._changed:
                job.previews.append(step)
                self._touch()

        callbacks = TuneCallbacks(
            on_phase=on_phase, on_progress=on_progress, on_preview=on_preview
        )
        state, error = "done", ""
        try:
            project = self._studio.project(job.request.name or "")
            project.keep_result(self._studio.tune(job.request, callbacks=callbacks))
        except StopTuning:
            state = "stopped"
        except MosError as reason:
            state, error = "failed", str(reason)
        except Exception as reason:
            state = "failed"
            error = f"internal error: {type(reason).__name__}: {reason}"
        with self._changed:
            job.state, job.error, job.phase, job.seconds_left = state, error, "", None
            self._touch()

    def _progress(self, job: Job, now: "SamplingStep") -> None:
        from mos_model.layouts.picture_file import picture_bytes
        from mos_model.layouts.preview import contact_sheet

        preview = None
        if now.previews:
            columns = round(len(now.previews) ** 0.5 + 0.49)
            preview = picture_bytes(contact_sheet(now.previews, columns=columns))
        moment = time.monotonic()
        with self._changed:
            job.notes = job.notes or list(now.notes)
            job.step, job.steps = now.step, now.steps
            if job.started is None and now.step:
                job.started = moment
            elif job.started is not None and now.step > 1:
                pace = (moment - job.started) / (now.step - 1)
                job.seconds_left = pace * (now.steps - now.step)
            job.pictures = [path.stem for path in now.paths]
            if preview is not None:
                job.preview, job.preview_step = preview, now.step
            self._touch()

    def _finish(self, job: Job, state: str, error: str = "") -> None:
        with self._changed:
            self._end(job, state, error)
            self._touch()

    def _end(self, job: Job, state: str, error: str = "") -> None:
        job.state, job.error, job.preview = state, error, None
        job.seconds_left = None
        self._studio.files.forget(job.id)
        ended = [
            each.id
            for each in self._jobs.values()
            if each.state in ("done", "failed", "cancelled")
        ]
        for id_ in ended[:-_FINISHED_KEPT]:
            del self._jobs[id_]

    def _draw_thumbnail(self, id_: str, key: str, model: str) -> None:
        def on_step(_: "SamplingStep") -> None:
            if self._waiting or self._runs or self._closing:
                raise Cancelled

        files = self._studio.files
        path = files.thumbnails / f"{id_}.png"
        if path.is_file() or self._base != "ready" or model == BARE:
            return
        try:
            self._studio.sample(
                f"a photo of <{key}>", model=model, out=path, callback=on_step
            )
        except Cancelled:
            self.add_thumbnail(id_, key, model)
        except Exception:
            return  # The card stays without one; ordering the picture says why.
        self.notify()
