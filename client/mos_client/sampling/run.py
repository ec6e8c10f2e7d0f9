"""A request carried out: every picture is written when its batch is finished.

Whatever ends a run early, an error, Ctrl-C or what the callback raises, leaves the
pictures of the finished batches and no half-written file; notes on the exception name
their files.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image

from mos_client.sampling.pace import PreviewPace
from mos_client.sampling.plan import SamplingPlan, plan
from mos_client.sampling.request import SampleRequest
from mos_model.bases.base import Base, load_base
from mos_model.layouts.picture_file import picture_bytes
from mos_model.layouts.preview import contact_sheet
from mos_model.sampling.sampler import Sampler, sampling
from mos_model.sampling.settings import Given
from mos_runtime.files import write_atomically


@dataclass(frozen=True)
class SamplingStep:
    """How far a run is: told after every step, and after every batch."""

    step: int
    """Steps made, of all batches."""

    steps: int
    """Steps of all batches."""

    previews: tuple[Image.Image, ...] = ()
    """The pictures of the batch as they are now, noise and all; empty but where a
    preview is due (see `SampleRequest`)."""

    paths: tuple[Path, ...] = ()
    """Files written so far."""

    notes: tuple[str, ...] = ()
    """See `Sampled.notes`."""


@dataclass(frozen=True)
class Sampled:
    """The pictures of a request."""

    pictures: tuple[Image.Image, ...]
    seeds: tuple[int, ...]
    """Of each picture."""

    paths: tuple[Path, ...]
    """Files written: one of each picture, or the sheet."""

    notes: tuple[str, ...]
    """See `SamplingPlan.notes`."""


Callback = Callable[[SamplingStep], None]


def sample(
    request: SampleRequest,
    callback: Callback = lambda _: None,
    *,
    base: Base | None = None,
) -> Sampled:
    """Sample the pictures of a request.

    Args:
        request: The request.
        callback: Called first with step 0, when all is checked; then after every step
            and batch. Whatever it raises ends the run.
        base: The base, where it is loaded already; the request's device and precision
            are then those it was loaded with.

    Raises:
        MosError: the request cannot be drawn or written.
    """
    planned = plan(request, base)
    callback(SamplingStep(0, 0, notes=planned.notes))
    loaded = _load(planned) if base is None else base
    with sampling(loaded, planned.model.fused) as sampler:
        return _Run(planned, sampler, callback).finished()


class _Run:
    """The batches of one plan, and what is written of them."""

    def __init__(
        self, planned: SamplingPlan, sampler: Sampler, callback: Callback
    ) -> None:
        self._plan, self._sampler, self._callback = planned, sampler, callback
        self._pictures: list[Image.Image] = []
        self._paths: list[Path] = []
        self._step = 0
        self._steps = 0

    def finished(self) -> Sampled:
        planned, request = self._plan, self._plan.request
        given: dict[str, Any] = {"seeds": planned.seeds, "batch_size": request.batch}
        batches = self._sampler.batches(planned.layouts, **given)
        self._steps = batches * planned.settings.steps
        pace = PreviewPace(request.preview_every, request.preview_share)

        def on_step(pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
            self._step += 1
            self._steps = batches * pipe.num_timesteps
            begun = time.monotonic()
            if pace.due(step + 1, begun):
                self._tell(tuple(self._sampler.decoded(tensors["latents"])))
                pace.shown(begun, time.monotonic())
            else:
                self._tell()
            return tensors

        drawn = self._sampler.in_batches(
            planned.layouts,
            **given,
            callback_on_step_end=on_step,
            **cast("Given", asdict(planned.settings)),
        )
        try:
            for pictures in drawn:
                self._keep(pictures)
                self._tell()
        except BaseException as error:
            self._write_sheet()
            for path in self._paths:
                error.add_note(f"finished: {path}")
            raise
        self._write_sheet()
        self._tell()
        return Sampled(
            tuple(self._pictures), planned.seeds, tuple(self._paths), planned.notes
        )

    def _tell(self, previews: tuple[Image.Image, ...] = ()) -> None:
        paths = tuple(self._paths)
        self._callback(SamplingStep(self._step, self._steps, previews, paths))

    def _keep(self, pictures: list[Image.Image]) -> None:
        for picture in pictures:
            index = len(self._pictures)
            self._pictures.append(picture)
            if self._plan.paths and not self._plan.request.grid:
                self._write(self._plan.paths[index], picture, index, index + 1)

    def _write_sheet(self) -> None:
        """The sheet of all pictures, or of those finished before a run ended early."""
        if self._plan.paths and self._plan.request.grid and self._pictures:
            columns = self._plan.request.images
            sheet = contact_sheet(self._pictures, columns=columns)
            self._write(self._plan.paths[0], sheet, 0, len(self._pictures))

    def _write(self, path: Path, image: Image.Image, first: int, last: int) -> None:
        text = self._plan.text(first, last)
        write_atomically(path, picture_bytes(image, path.suffix, text))
        self._paths.append(path)


def _load(planned: SamplingPlan) -> Base:
    request = planned.request
    if not request.offload:
        return load_base(request.base, device=planned.device, dtype=planned.dtype)
    loaded = load_base(request.base, dtype=planned.dtype)
    loaded.pipeline.enable_model_cpu_offload(device=planned.device)
    return loaded
