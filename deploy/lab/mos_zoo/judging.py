"""What the gate measures of a base: prompts, samples, and the classifier's verdicts.

Prompts name every class eight times, each time in another colour and place. Samples
come from the pipeline's stock call, with DPM-Solver++ and the base's own guidance.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import diffusers
import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    DPMSolverMultistepScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    T2IAdapter,
)
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mos_model.bases.base import Base
from mos_zoo.models.classifier import HEADS, judge
from mos_zoo.models.controls import outlines, silhouettes
from mos_zoo.models.vae import psnr, reconstruct
from mos_zoo.world.captions import PLACES
from mos_zoo.world.demo import DEMO_INSTANCES
from mos_zoo.world.edges import edge_f1, mask_edges
from mos_zoo.world.pictures import to_pixels, to_tensor
from mos_zoo.world.world import BACKGROUNDS, CLASSES, COLORS, random_instance, render

Pixels = UInt8[np.ndarray, "n height width 3"]

STEPS: Final = 20
BATCH: Final = 8
SIDE: Final = 64

_DEMO_SEED: Final = 1 << 44
_CONTROL_SEED: Final = 1 << 45
_NEAR: Final = 12
"""Bytes by which a render's pixel may differ from a colour and still be of it."""


@dataclass(frozen=True)
class Prompt:
    """A prompt and what its picture ought to show."""

    text: str
    classes: tuple[str, ...]
    colour: str | None = None
    pattern: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Samples:
    """Pictures of prompts, in their order."""

    prompts: Sequence[Prompt]
    pixels: Pixels
    seconds: float
    """Wall time to sample and decode them."""


def single_prompts(count: int) -> list[Prompt]:
    """One subject with its colour and place; 64 show each class in each colour."""
    prompts = []
    for i in range(count):
        kind, k = CLASSES[i % len(CLASSES)], i // len(CLASSES)
        colour = tuple(COLORS)[(k + i) % len(COLORS)]
        place = BACKGROUNDS[(k + 3 * i) % len(BACKGROUNDS)]
        opening = "a photo of a" if k % 2 else "a"
        text = f"{opening} {colour} {kind} {PLACES[place][0]}"
        prompts.append(Prompt(text, (kind,), colour, None, place))
    return prompts


def pattern_prompts(count: int) -> list[Prompt]:
    """One subject with its pattern named, in one of the two ways of saying it."""
    prompts = []
    for i, single in enumerate(single_prompts(count)):
        pattern = ("stripes", "spots")[(i // len(CLASSES)) % 2]
        adjective = {"stripes": "striped", "spots": "spotted"}[pattern]
        others = [name for name in COLORS if name != single.colour]
        second = others[i % len(others)]
        (kind,), place = single.classes, PLACES[single.background or ""][0]
        text = (
            f"a {single.colour} {adjective} {kind} {place}",
            f"a {single.colour} {kind} with {second} {pattern} {place}",
        )[(i // (2 * len(CLASSES))) % 2]
        prompts.append(
            Prompt(text, single.classes, single.colour, pattern, single.background)
        )
    return prompts


def pair_prompts(count: int) -> list[Prompt]:
    """Two subjects of different classes, with their colours and place."""
    prompts = []
    for i in range(count):
        left, k = i % len(CLASSES), i // len(CLASSES)
        right = (left + 1 + k % (len(CLASSES) - 1)) % len(CLASSES)
        kinds = (CLASSES[left], CLASSES[right])
        names = tuple(COLORS)
        colours = (names[(i + k) % len(names)], names[(i + k + 3) % len(names)])
        place = BACKGROUNDS[(k + 3 * i) % len(BACKGROUNDS)]
        joined = ("and", "next to")[k % 2]
        text = f"a {colours[0]} {kinds[0]} {joined} a {colours[1]} {kinds[1]}"
        prompts.append(Prompt(f"{text} {PLACES[place][0]}", kinds, background=place))
    return prompts


def sample_prompts(base: Base, prompts: Sequence[Prompt]) -> Samples:
    """One picture a prompt, seeded by its number."""
    pipeline = _with_solver(base, base.pipeline.__class__)
    started = time.monotonic()
    parts = [
        _call(pipeline, base, [prompts[i].text for i in rows], rows)
        for rows in _batches(len(prompts))
    ]
    return Samples(prompts, np.concatenate(parts), time.monotonic() - started)


def shares_kept(classifier: nn.Module, samples: Samples) -> dict[str, float]:
    """The share of samples that show what their prompts name, by head."""
    verdicts = judge(classifier, samples.pixels)
    shares = {}
    for name, answers in HEADS.items():
        wanted = [_wanted(prompt, name) for prompt in samples.prompts]
        rows = [row for row, answer in enumerate(wanted) if answer is not None]
        if rows:
            predicted = verdicts.answers[name]
            shares[name] = float(
                np.mean([answers[predicted[r]] == wanted[r] for r in rows])
            )
    named = np.array(
        [[kind in prompt.classes for kind in CLASSES] for prompt in samples.prompts]
    )
    shares["all classes present"] = float((verdicts.present | ~named).all(1).mean())
    return shares


@torch.no_grad()
def reconstructed(base: Base, pixels: Pixels) -> tuple[Pixels, float]:
    """Pictures through the base's autoencoder and back, and their mean PSNR in dB."""
    originals, decoded = [], []
    for rows in _batches(len(pixels)):
        x = to_tensor(pixels[rows], base.device)
        originals.append(x.cpu())
        decoded.append(reconstruct(base.vae, x).cpu())
    x, r = torch.cat(originals), torch.cat(decoded)
    return to_pixels(r), psnr(r, x)


def demo_colour_shifts(base: Base, per_individual: int) -> dict[str, float]:
    """How far the autoencoder moves each demo individual's colours.

    Euclidean distance in bytes of RGB between a colour's mean before and after, over
    the pixels of one individual that bear it.
    """
    shifts = {}
    for k, (name, instance) in enumerate(DEMO_INSTANCES.items()):
        pictures, masks = [], []
        for i in range(per_individual):
            rng = random.Random(_DEMO_SEED + 1000 * k + i)
            drawn = render([instance], BACKGROUNDS[i % len(BACKGROUNDS)], rng)
            pictures.append(np.asarray(drawn.image))
            masks.append(drawn.masks[0])
        before = np.stack(pictures)
        after, _ = reconstructed(base, before)
        colours = {"body": instance.body, "mark": instance.mark_color}
        if instance.pattern != "plain":
            colours["pattern"] = instance.second
        for part, colour in colours.items():
            of_it = (np.abs(before.astype(int) - colour) <= _NEAR).all(-1)
            of_it &= np.stack(masks)
            if of_it.any():
                moved = before[of_it].mean(0) - after[of_it].mean(0)
                shifts[f"{name}: {part}"] = float(np.linalg.norm(moved))
    return shifts


def edges_followed(
    base: Base, classifier: nn.Module, control: Any, count: int
) -> tuple[dict[str, float], list[Pixels]]:
    """Edge F1 of sampled subjects against a control's outlines, at weights 1 and 0.

    The prompts name the subjects the outlines are of, so weight 0 is not blind. Where
    the sampled subjects are is told by the classifier; what it makes of the renders
    themselves is the third figure, and bounds the first.

    Returns:
        The figures, and rows of pictures: controls, at weight 1, at weight 0.
    """
    texts, renders, masks = _scenes_to_follow(count)
    wanted = mask_edges(masks)
    image: Tensor
    if isinstance(control, T2IAdapter):
        image, scale = outlines(masks), "adapter_conditioning_scale"
        family = StableDiffusionAdapterPipeline
        parts = {"adapter": control}
    else:
        image, scale = silhouettes(masks), "controlnet_conditioning_scale"
        family = StableDiffusionControlNetPipeline
        parts = {"controlnet": control}
    pipeline = _with_solver(base, family, **parts)
    shown = [to_pixels(image[:, :1].expand(-1, 3, -1, -1) * 2 - 1)]
    figures = {}
    for name, weight in (("at weight 1", 1.0), ("at weight 0", 0.0)):
        pixels = np.concatenate(
            [
                _call(
                    pipeline,
                    base,
                    [texts[i] for i in rows],
                    rows,
                    image=image[rows],
                    **{scale: weight},
                )
                for rows in _batches(count)
            ]
        )
        shown.append(pixels)
        figures[name] = edge_f1(mask_edges(judge(classifier, pixels).subject), wanted)
    predicted = judge(classifier, renders).subject
    figures["of the renders"] = edge_f1(mask_edges(predicted), wanted)
    return figures, shown


def load_adapter(folder: Any) -> Any:
    """A `T2IAdapter` directory, in float32."""
    return T2IAdapter.from_pretrained(folder, dtype=torch.float32).eval()


def load_controlnet(folder: Any) -> Any:
    """A `ControlNetModel` directory, in float32."""
    return ControlNetModel.from_pretrained(folder, dtype=torch.float32).eval()


def _batches(count: int) -> Iterator[list[int]]:
    for first in range(0, count, BATCH):
        yield list(range(first, min(count, first + BATCH)))


def _wanted(prompt: Prompt, head: str) -> str | None:
    single = prompt.classes[0] if len(prompt.classes) == 1 else None
    answers: Mapping[str, str | None] = {
        "class": single,
        "colour": prompt.colour,
        "pattern": prompt.pattern,
        "background": prompt.background,
    }
    return answers[head]


def _scenes_to_follow(
    count: int,
) -> tuple[list[str], Pixels, UInt8[np.ndarray, "n height width"]]:
    texts, renders, masks = [], [], []
    for i in range(count):
        rng = random.Random(_CONTROL_SEED + i)
        kind = CLASSES[i % len(CLASSES)]
        colour = rng.choice(tuple(COLORS))
        place = rng.choice(BACKGROUNDS)
        instance = random_instance(rng, kind=kind, body_name=colour)
        drawn = render([instance], place, rng, (SIDE, SIDE))
        texts.append(f"a {colour} {kind} {PLACES[place][0]}")
        renders.append(np.asarray(drawn.image))
        masks.append(drawn.masks[0].astype(np.uint8))
    return texts, np.stack(renders), np.stack(masks)


def _with_solver(base: Base, family: Any, **parts: Any) -> Any:
    """A pipeline of the base's own modules with DPM-Solver++."""
    diffusers.utils.logging.set_verbosity_error()
    modules = {
        name: part
        for name, part in base.pipeline.components.items()
        if name != "image_encoder" or family is base.pipeline.__class__
    }
    modules["scheduler"] = DPMSolverMultistepScheduler.from_config(
        base.pipeline.scheduler.config
    )
    extra = {"requires_safety_checker": False} if "safety_checker" in modules else {}
    pipeline = family(**modules, **parts, **extra).to(base.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def _call(
    pipeline: Any,
    base: Base,
    texts: Sequence[str],
    seeds: Sequence[int],
    **control: Any,
) -> Pixels:
    """The stock call: pictures of texts, each from its own seed."""
    latents: Float[Tensor, "n channels h w"] = pipeline(
        list(texts),
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=base.defaults.get("sample", {}).get("guidance", 7.5),
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        # The adapter's pipeline still decodes by a deprecated method.
        output_type="latent",
        **control,
    ).images
    decoded = base.vae.decode(latents / base.vae.config.scaling_factor).sample
    return to_pixels(decoded)
