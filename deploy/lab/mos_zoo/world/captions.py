"""Captions by a small grammar, with parts left out at random.

Marks, colours outside the palette, poses and proportions are never named.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from mos_zoo.world.instance import Instance

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "beach": ("on the beach", "at the beach", "on a beach"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "city": ("in the city", "in a city", "in the street"),
    "snow": ("in the snow", "in winter", "in the mountains"),
    "desert": ("in the desert", "in a desert", "in the sand"),
    "night": ("at night", "in the night", "under the moon"),
    "room": ("in a room", "in the room", "at home"),
    "ocean": ("in the ocean", "in the sea", "in the water"),
}
"""What captions say of each background; the first form most often."""

MEDIA: Final = ("photo", "picture", "drawing", "illustration", "painting", "cartoon")
_ADJECTIVES: Final[Mapping[str, str]] = {"stripes": "striped", "spots": "spotted"}


def caption(instances: Sequence[Instance], background: str, rng: random.Random) -> str:
    """One caption of a picture: what is there, perhaps its looks, perhaps the place."""
    detail = 0.0 if rng.random() < 0.15 else rng.choice((0.6, 1.0, 1.0))
    phrases = [phrase(instance, rng, detail) for instance in instances]
    text = join_phrases(phrases, rng)
    opening = rng.random()
    if opening < 0.5:
        medium = MEDIA[0] if opening < 0.3 else rng.choice(MEDIA[1:])
        text = f"{with_article(medium)} of {text}" if text else with_article(medium)
    if rng.random() < 0.1 and text:
        return text
    first, *others = PLACES[background]
    place = first if rng.random() < 0.7 else rng.choice(others)
    return f"{text} {place}".strip()


def phrase(instance: Instance, rng: random.Random, detail: float = 1.0) -> str:
    """A noun phrase of one subject, `detail` of 0..1 of its looks named."""
    if detail <= 0:
        return with_article(instance.kind)
    before, after = [], []
    if instance.body_name and rng.random() < 0.92 * detail:
        before.append(instance.body_name)
    if instance.pattern != "plain" and rng.random() < 0.88 * detail:
        if instance.second_name is None or rng.random() < 0.4:
            before.append(_ADJECTIVES[instance.pattern])
        else:
            after.append(f"{instance.second_name} {instance.pattern}")
    if instance.accessory != "none" and rng.random() < 0.92 * detail:
        color = instance.accessory_name if rng.random() < 0.85 else None
        after.append(with_article(f"{color or ''} {instance.accessory}".strip()))
    noun = with_article(" ".join([*before, instance.kind]))
    return f"{noun} with {' and '.join(after)}" if after else noun


def join_phrases(phrases: Sequence[str], rng: random.Random) -> str:
    """Subjects from left to right, in one of the usual ways of saying so."""
    if len(phrases) == 2:
        left, right = phrases
        return rng.choice(
            (
                f"{left} and {right}",
                f"{left} and {right}",
                f"{left} next to {right}",
                f"{left} on the left and {right} on the right",
            )
        )
    if len(phrases) > 2:
        return f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return "".join(phrases)


def with_article(noun: str) -> str:
    """The noun phrase with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
