"""A request worked out and checked, before any weights of the base are loaded."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from mos_client.sampling.request import RANDOM_SEED, SampleRequest
from mos_client.store.models import OpenedModel, open_model
from mos_model.bases.base import Base
from mos_model.bases.base_outline import BaseOutline, outline_of, read_outline
from mos_model.concepts.applying import check_base
from mos_model.devices import pick_device, pick_dtype
from mos_model.errors import DeviceError, LayoutError
from mos_model.layouts.layout import Layout
from mos_model.layouts.layout_file import read_layout
from mos_model.layouts.picture_file import SUFFIXES, check_picture_file
from mos_model.layouts.preview import sheet_size
from mos_model.prompts.encoder import embeddings_by_name
from mos_model.prompts.prompt_tokens import PromptTokenizer
from mos_model.sampling.checking import check_sampling
from mos_model.sampling.record import PictureRecord, read_record, records_text
from mos_model.sampling.resources import Resources
from mos_model.sampling.settings import Given, SamplingSettings
from mos_runtime.outputs import output_file

_RANDOM_SEEDS = 2**32


@dataclass(frozen=True)
class SamplingPlan:
    """What will be drawn and written."""

    request: SampleRequest
    model: OpenedModel
    settings: SamplingSettings
    layouts: tuple[Layout, ...]
    """Of every picture."""

    seeds: tuple[int, ...]
    """Of every picture."""

    records: tuple[PictureRecord, ...]
    """Of every picture; none without metadata."""

    paths: tuple[Path, ...]
    """A file for each picture, or the sheet's; none where nothing is written."""

    device: torch.device
    dtype: torch.dtype
    notes: tuple[str, ...]
    """What speaks against the model, and what has no effect, or next to none."""

    def text(self, first: int, last: int) -> str | None:
        """What a file of the pictures `first` to `last` says of their making."""
        own = self.records[first:last]
        return records_text(own) if own else None


def plan(request: SampleRequest, base: Base | None = None) -> SamplingPlan:
    """Work out a request.

    Args:
        request: The request.
        base: The base, where it is loaded already.

    Raises:
        MosError: whatever would keep it from being drawn or written.
    """
    _check_sources(request)
    paths = _paths(request)
    device, dtype = _computing(request)
    record = None if request.from_picture is None else read_record(request.from_picture)
    model = open_model(request.release, request.concepts, request.home)
    outline = read_outline(request.base) if base is None else outline_of(base)
    if model.fused is not None:
        check_base(outline, model.fused.base, "the model")
    first, given, seed = _beginning(request, record, outline, model)
    settings = SamplingSettings.of(outline, given)
    layouts = _layouts(first, request)
    seeds = range(seed, seed + request.images)
    pairs = [(layout, number) for layout in layouts for number in seeds]
    words = {} if model.fused is None else embeddings_by_name(model.fused)
    notes = check_sampling(
        outline,
        PromptTokenizer(outline.tokenizers, words),
        [layout for layout, _ in pairs],
        seeds=[number for _, number in pairs],
        settings=settings,
    )
    made = SamplingPlan(
        request,
        model,
        settings,
        tuple(layout for layout, _ in pairs),
        tuple(number for _, number in pairs),
        _records(pairs, settings, outline, model) if request.metadata else (),
        paths,
        device,
        dtype,
        (*model.warnings, *notes),
    )
    _check_files(made)
    return made


def _check_sources(request: SampleRequest) -> None:
    if request.from_picture is not None and (request.layout or request.prompts):
        raise LayoutError(
            "--from-picture brings its own prompt; leave out --layout and --prompt"
        )
    if request.files and request.from_picture is None:
        raise LayoutError("--files: goes with --from-picture alone")
    if not (request.from_picture or request.layout or request.prompts):
        raise LayoutError("nothing to draw: give --prompt, --layout or --from-picture")
    seed = request.seed
    if seed is not None and seed < RANDOM_SEED:
        raise LayoutError(f"--seed {seed}: 0 or more, or -1 for a random one")


def _paths(request: SampleRequest) -> tuple[Path, ...]:
    """The files to write, each of which may be written."""
    out = request.out
    if out is None:
        return ()
    count = 1 if request.grid else request.images * max(1, len(request.prompts))
    output_file(out, force=request.force, suffixes=SUFFIXES)
    further = [out.with_stem(f"{out.stem}-{number}") for number in range(2, count + 1)]
    for path in further:
        output_file(path, force=request.force, suffixes=SUFFIXES)
    return (out, *further)


def _computing(request: SampleRequest) -> tuple[torch.device, torch.dtype]:
    device = pick_device(request.device)
    if request.offload and device.type == "cpu":
        raise DeviceError("--offload: frees a GPU's memory, and the device is cpu")
    return device, pick_dtype(request.precision, device)


def _beginning(
    request: SampleRequest,
    record: PictureRecord | None,
    outline: BaseOutline,
    model: OpenedModel,
) -> tuple[Layout, Given, int]:
    """The first layout, the settings given, and the first seed."""
    seed = request.seed
    if seed == RANDOM_SEED:
        seed = secrets.randbelow(_RANDOM_SEEDS)
    if record is None or request.from_picture is None:
        return _first_layout(request, outline), request.settings, seed or 0
    check_base(outline, record.base, f"{request.from_picture}")
    model.check_made(record.model, request.from_picture)
    places = Resources([*request.files, request.from_picture.parent, Path()])
    given: Mapping[str, Any] = request.settings
    own = {
        name: value if given.get(name) is None else given[name]
        for name, value in asdict(record.settings).items()
    }
    seed = record.seed if seed is None else seed
    return record.layout_again(places), cast("Given", own), seed


def _first_layout(request: SampleRequest, outline: BaseOutline) -> Layout:
    if isinstance(request.layout, Layout):
        return request.layout
    size = request.size or outline.size
    if request.layout is not None:
        return read_layout(request.layout, size=size)
    return Layout("", *size)


def _layouts(first: Layout, request: SampleRequest) -> list[Layout]:
    """The first layout with what else the request gives, for every prompt."""
    changed = replace(
        first,
        regions=first.regions + request.regions,
        controls=first.controls + request.controls,
    )
    if request.size is not None:
        changed = replace(changed, width=request.size[0], height=request.size[1])
    if request.negative is not None:
        changed = replace(changed, negative_prompt=request.negative)
    prompts = request.prompts or (first.prompt,)
    return [replace(changed, prompt=prompt) for prompt in prompts]


def _records(
    pairs: list[tuple[Layout, int]],
    settings: SamplingSettings,
    outline: BaseOutline,
    model: OpenedModel,
) -> tuple[PictureRecord, ...]:
    base = outline.inventory.base
    return tuple(
        PictureRecord.of(layout, settings, seed=seed, base=base, model=model.origin)
        for layout, seed in pairs
    )


def _check_files(made: SamplingPlan) -> None:
    size = (made.layouts[0].width, made.layouts[0].height)
    if not made.request.grid:
        for index, path in enumerate(made.paths):
            check_picture_file(path, size, made.text(index, index + 1))
        return
    count = len(made.layouts)
    for path in made.paths:
        sheet = sheet_size(size, count, columns=made.request.images)
        check_picture_file(path, sheet, made.text(0, count))
