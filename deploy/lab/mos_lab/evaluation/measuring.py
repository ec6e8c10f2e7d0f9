"""Pictures of a model, and the figures they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from mos_lab.evaluation.subjects import Reference, Subject
from mos_model.bases.base import Base
from mos_model.concepts.concept import FusedModel
from mos_model.metrics import Metrics, image_alignment, text_alignment
from mos_model.sampling import Layout, Sampler, sampling

CONCEPT_PROMPTS: Final = (
    "a photo of {}",
    "{} on the beach",
    "a photo of {} in the snow",
    "{} in the forest",
    "a photo of {} at night",
)
"""What a concept is drawn by; {} is the placeholder, or the class word."""

ON_CPU: Final = 16
ON_GPU: Final = 160

OnPicture = Callable[[int], None]
"""Called with how many more pictures are drawn."""


@dataclass(frozen=True)
class Sampled:
    """Prompts and seeds of every concept, and the size of its pictures."""

    prompts: tuple[str, ...] = CONCEPT_PROMPTS
    seeds: tuple[int, ...] = (0, 1)
    side: int = 64
    """Pixels; the base's own size."""

    steps: int | None = None
    """Sampling steps; the base's own number by default."""


@dataclass(frozen=True)
class Alignment:
    """One concept in one model."""

    image: float
    """Mean cosine of samples and training pictures."""

    text: float
    """Mean cosine of samples and prompts, the placeholder read as the class word."""


def draw(
    sampler: Sampler,
    what: str,
    plan: Sampled,
    on_picture: OnPicture,
) -> list[Image.Image]:
    """Pictures of one word or placeholder, prompt by prompt, seed by seed."""
    (pictures,) = draw_each(sampler, [what], plan, on_picture)
    return pictures


def draw_each(
    sampler: Sampler,
    words: Sequence[str],
    plan: Sampled,
    on_picture: OnPicture,
    *,
    at_once: int = ON_CPU,
) -> list[list[Image.Image]]:
    """For each word or placeholder, its pictures; `at_once` are sampled together."""
    layouts = [
        Layout(prompt.format(word), plan.side, plan.side)
        for word in words
        for prompt in plan.prompts
        for _ in plan.seeds
    ]
    settings: dict[str, Any] = {} if plan.steps is None else {"steps": plan.steps}
    seeds = list(plan.seeds) * (len(plan.prompts) * len(words))
    pictures: list[Image.Image] = []
    for batch in sampler.in_batches(
        layouts, seeds=seeds, batch_size=at_once, **settings
    ):
        pictures += batch
        on_picture(len(batch))
    each = len(plan.prompts) * len(plan.seeds)
    return [pictures[first : first + each] for first in range(0, len(pictures), each)]


def at_once_on(base: Base) -> int:
    """How many pictures are sampled together: on a GPU launches cost, not products."""
    return ON_CPU if base.device.type == "cpu" else ON_GPU


def texts_of(class_word: str, plan: Sampled) -> list[str]:
    """The prompts as an outsider would say them, one for each picture of `draw`."""
    word = f"a {class_word}"
    return [
        prompt.format(word).replace("a photo of a a ", "a photo of a ")
        for prompt in plan.prompts
        for _ in plan.seeds
    ]


def alignments(
    base: Base,
    model: FusedModel,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    metrics: Metrics,
    plan: Sampled,
    on_picture: OnPicture,
) -> tuple[dict[str, Alignment], dict[str, list[Image.Image]]]:
    """Every subject's alignment in one model, and the pictures that show it."""
    found: dict[str, Alignment] = {}
    shown: dict[str, list[Image.Image]] = {}
    words = [f"<{subject.name}>" for subject in subjects]
    with sampling(base, model) as sampler:
        drawn = draw_each(sampler, words, plan, on_picture, at_once=at_once_on(base))
    for subject, known, pictures in zip(subjects, references, drawn, strict=True):
        features = metrics.of_images(pictures)
        texts = metrics.of_texts(texts_of(subject.class_word, plan))
        found[subject.name] = Alignment(
            image_alignment(features, known.features),
            text_alignment(features, texts),
        )
        shown[subject.name] = pictures
    return found, shown


def class_pictures(
    base: Base,
    model: FusedModel | None,
    class_words: Sequence[str],
    plan: Sampled,
    on_picture: OnPicture,
) -> list[Image.Image]:
    """Ordinary things, without any concept named: what fusion should leave alone."""
    words = [f"a {word}" for word in class_words]
    with sampling(base, model) as sampler:
        drawn = draw_each(sampler, words, plan, on_picture, at_once=at_once_on(base))
    return [picture for pictures in drawn for picture in pictures]


def drift(
    metrics: Metrics, before: Sequence[Image.Image], after: Sequence[Image.Image]
) -> float:
    """1 - mean cosine of ordinary pictures before and after, seed by seed; 0 is none.

    Equal seeds and prompts, so an untouched base gives 0.
    """
    return 1 - text_alignment(metrics.of_images(before), metrics.of_images(after))


def drift_by_class(
    metrics: Metrics,
    class_words: Sequence[str],
    before: Sequence[Image.Image],
    after: Sequence[Image.Image],
) -> dict[str, float]:
    """`drift` of each class, from pictures as `class_pictures` gives them."""
    each = len(before) // len(class_words)
    return {
        word: drift(metrics, before[first : first + each], after[first : first + each])
        for word, first in zip(class_words, range(0, len(before), each), strict=True)
    }
