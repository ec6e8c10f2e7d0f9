"""A request carried out: sample, compare, write the folder whole.

    OUT/README.md                            the model card
    OUT/NAME.safetensors, .sig               the model as it is here, with its signature
    OUT/pytorch_lora_weights.safetensors     for `load_lora_weights`
    OUT/embeddings/, OUT/layers/             its words (`mos_model.interop.exporting`)
    OUT/images/picture.png ..                sample pictures, with their settings

Training pictures are only compared with; neither they nor their names are written.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mos_client.publishing.card import Card, CardConcept, CardPicture
from mos_client.publishing.request import PublishRequest
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import FUSED_FORMAT, Concept, FusedModel, format_of
from mos_model.errors import ConceptError
from mos_protocol.signed.blob import signature_path
from mos_protocol.signed.envelope import MAX_ENVELOPE_BYTES, open_envelope
from mos_protocol.signed.release import MAX_RELEASE_BYTES
from mos_runtime.files import read_whole, write_atomically
from mos_runtime.outputs import output_folder

if TYPE_CHECKING:
    from mos_client.pictures import Picture
    from mos_client.sampling import Sampled
    from mos_client.sampling.run import Callback
    from mos_model.bases.base import Base

CARD_FILE: Final = "README.md"
_PICTURE: Final = "images/picture.png"


@dataclass(frozen=True)
class Published:
    """A folder that was filled."""

    folder: Path
    files: tuple[str, ...]
    """Within the folder, sorted."""

    notes: tuple[str, ...]
    """What the card cannot say: what is missing, and what speaks against the model."""


@dataclass(frozen=True)
class _Model:
    """The model to publish."""

    name: str
    content: bytes
    signature: bytes | None
    concept: Concept | None
    """None of a release."""

    fused: FusedModel
    source: dict[str, Any]
    """Fields of `SampleRequest` that name it."""

    notes: tuple[str, ...] = ()


def publish(
    request: PublishRequest, callback: "Callback" = lambda _: None
) -> Published:
    """Fill a folder for a model hub.

    Args:
        request: The request.
        callback: Called as sampling proceeds (`mos_client.sampling`).

    Raises:
        MosError: the file, the base, the pictures or the folder cannot be used; the
            folder is as it was.
    """
    from mos_model.interop import export_diffusers
    from mos_model.interop.folder import filled_folder

    output_folder(request.out, force=request.force)
    model = _model(request)
    pictures = _training_pictures(request, model)
    with filled_folder(request.out) as folder:
        base, sampled = _sampled(request, model, folder, callback)
        figures = list(_figures(model))
        if base is not None and model.concept is not None and pictures:
            figures += _compared(request, base, model.concept, pictures)
        export_diffusers(model.fused, folder)
        write_atomically(folder / f"{model.name}.safetensors", model.content)
        if model.signature is not None:
            path = signature_path(folder / f"{model.name}.safetensors")
            write_atomically(path, model.signature)
        card = _card(request, model, sampled, figures)
        write_atomically(folder / CARD_FILE, card.markdown().encode())
        found = (path for path in folder.rglob("*") if path.is_file())
        files = sorted(path.relative_to(folder).as_posix() for path in found)
    return Published(request.out, tuple(files), (*model.notes, *_notes(card)))


def _model(request: PublishRequest) -> _Model:
    """What is to be published, read but not judged: its signature goes with it."""
    if request.file == "newest" or request.file.isdigit():
        return _received(request)
    path = Path(request.file)
    content = read_whole(
        path, what="a concept or a release", max_bytes=MAX_RELEASE_BYTES
    )
    signed, signature = signature_path(path), None
    if signed.exists():
        signature = read_whole(signed, what="an envelope", max_bytes=MAX_ENVELOPE_BYTES)
    try:
        if format_of(content) == FUSED_FORMAT:
            model = FusedModel.from_bytes(content)
            source: dict[str, Any] = {"release": request.file}
            return _Model(path.stem, content, signature, None, model, source)
        concept = Concept.from_bytes(content)
    except ConceptError as error:
        raise ConceptError(f"{path}: {error}") from error
    source = {"concepts": (path,)}
    name = concept.facts.name
    return _Model(name, content, signature, concept, as_fused(concept), source)


def _received(request: PublishRequest) -> _Model:
    from mos_client.store.home import SiteHome
    from mos_client.store.releases import ReleaseStore

    release, notes = ReleaseStore(SiteHome.open(request.home)).usable(request.file)
    model = FusedModel.from_bytes(release.payload)
    source = {"release": request.file, "home": request.home}
    return _Model(
        "release", release.payload, release.envelope, None, model, source, tuple(notes)
    )


def _training_pictures(request: PublishRequest, model: _Model) -> "list[Picture]":
    """Those to compare with; none where the request names no folder.

    Raises:
        ConceptError: the model is a release, or no picture would be sampled.
        DataError: the folder holds no usable picture.
    """
    from mos_client.pictures import read_folder

    if request.data is None:
        return []
    if model.concept is None:
        raise ConceptError("--data: only one concept can be compared with its pictures")
    if not request.images:
        raise ConceptError("--data: nothing to compare with --images 0")
    return list(read_folder(request.data, min_side=1).pictures)


def _sampled(
    request: PublishRequest, model: _Model, folder: Path, callback: "Callback"
) -> "tuple[Base | None, Sampled | None]":
    """The base and its sample pictures, written into the folder; None for none."""
    from mos_client.sampling import SampleRequest, sample
    from mos_client.sampling.plan import plan
    from mos_model.bases.base import load_base

    prompts = _prompts(request, model)
    if not request.images or not prompts:
        return None, None
    wanted = SampleRequest(
        prompts=prompts,
        images=request.images,
        seed=request.seed,
        base=request.base,
        out=folder / _PICTURE,
        device=request.device,
        precision=request.precision,
        **model.source,
    )
    planned = plan(wanted)  # whatever is wrong is found before the base is loaded
    base = load_base(request.base, device=planned.device, dtype=planned.dtype)
    return base, sample(wanted, callback, base=base)


def _prompts(request: PublishRequest, model: _Model) -> tuple[str, ...]:
    from mos_model.interop import words_of

    words = (f"a photo of <{word}>" for word in words_of(model.fused))
    return request.prompts or tuple(words)


def _figures(model: _Model) -> Iterator[tuple[str, str]]:
    lora = model.fused.lora
    yield "rank", str(max((each.down.shape[0] for each in lora.values()), default=0))
    yield "LoRA pairs", str(len(lora))
    yield "size", f"{len(model.content) / 2**20:.1f} MiB"


def _compared(
    request: PublishRequest, base: "Base", concept: Concept, pictures: "list[Picture]"
) -> Iterator[tuple[str, str]]:
    """Likeness of samples to the training pictures, and whether they repeat one."""
    from mos_client.tuning.checks.memorisation import (
        bare_samples,
        compared,
        metrics_for,
    )
    from mos_model.metrics import image_alignment

    metrics = metrics_for(base, request.metrics)
    samples = bare_samples(concept, base=base, seed=request.seed)
    if metrics is not None:
        likeness = image_alignment(
            metrics.of_images(samples),
            metrics.of_images([picture.image for picture in pictures]),
        )
        yield f"image alignment, {len(samples)} samples", f"{likeness:.3f}"
    found = compared(samples, pictures, metrics=metrics)
    repeats = "one" if found.repeats else "none"
    yield f"of {len(samples)} samples, repeating a training picture", repeats


def _card(
    request: PublishRequest,
    model: _Model,
    sampled: "Sampled | None",
    figures: list[tuple[str, str]],
) -> Card:
    from mos_model.interop import layers_differ, words_of

    stated = model.concept.facts.licence if model.concept else ""
    encoders = {name for each in model.fused.concepts for name in each.embeddings}
    signer = ""
    if model.signature is not None:
        signer = open_envelope(model.signature, endorsed=True).key_id
    return Card(
        title=request.title or model.name,
        base=request.base,
        fingerprint=model.fused.base,
        model_file=f"{model.name}.safetensors",
        release=model.concept is None,
        sha256=hashlib.sha256(model.content).hexdigest(),
        signer=signer,
        licence=request.licence or stated,
        concepts=[
            CardConcept(f"<{word}>", each.class_word, each.site)
            for word, each in words_of(model.fused).items()
        ],
        pictures=[] if sampled is None else list(_pictures(request, model, sampled)),
        figures=figures,
        two_encoders=len(encoders) > 1,
        averaged=layers_differ(model.fused),
    )


def _pictures(
    request: PublishRequest, model: _Model, sampled: "Sampled"
) -> Iterator[CardPicture]:
    prompts = _prompts(request, model)
    for place, path in enumerate(sampled.paths):
        prompt = prompts[place // request.images]
        yield CardPicture(f"images/{path.name}", prompt, sampled.seeds[place])


def _notes(card: Card) -> Iterator[str]:
    if not card.licence:
        yield "no licence is stated; others may not use it: pass --licence"
    if not card.signer:
        yield "it is not signed; nobody can verify who made it"
