"""The individuals that evaluations are made on, and their pictures.

Two series of fixed individuals that no stage of the zoo trains on. `mixed` goes through
the classes, ordinary individuals and marked ones by turns: an ordinary one wears
colours and patterns that captions name, a marked one colours without a name and a mark
that captions never tell. `alike` is of one class throughout. The demo's three are not
among them, so no setting chosen on those is judged by them.

A salt gives other individuals under the same names, as many sets as there are salts.
The individuals without a salt are those that the log's first tables are about.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from PIL import Image

from mos_model.errors import ZooError
from mos_zoo.world.instance import BACKGROUNDS, CLASSES, Instance, random_instance
from mos_zoo.world.world import render

MIXED: Final = (
    *("ada", "bea", "cid", "dov", "eli", "fay", "gus", "hal"),
    *("ivy", "jan", "kim", "lou", "max", "ned", "oda", "pip"),
)
"""Names of the mixed series; every second one is marked."""

ALIKE: Final = ("una", "vic", "wim")
"""Names of three individuals of one class."""

ALIKE_CLASS: Final = "dog"
PICTURES: Final = 8

_SIDE: Final = 64


def alike_class(salt: str = "") -> str:
    """The class of the three of one class: a salt's own, `ALIKE_CLASS` without one."""
    return random.Random(f"alike/{salt}").choice(CLASSES) if salt else ALIKE_CLASS


def individual(name: str, salt: str = "") -> Instance:
    """One individual of either series, the same at every call.

    Raises:
        ZooError: no individual has this name.
    """
    if name in ALIKE:
        marked = ALIKE.index(name) % 2 == 1
        return _drawn(name, alike_class(salt), salt, marked=marked)
    if name not in MIXED:
        raise ZooError(f"{name!r}: no individual of the evaluation has this name")
    number = MIXED.index(name)
    # Every class once marked and once not, over two rounds of eight.
    kind = CLASSES[number % len(CLASSES)]
    return _drawn(name, kind, salt, marked=is_marked(name))


def is_marked(name: str) -> bool:
    """Whether captions never name the individual's colours and mark."""
    if name in ALIKE:
        return ALIKE.index(name) % 2 == 1
    number = MIXED.index(name)
    return (number + number // len(CLASSES)) % 2 == 1


def pictures_of(name: str, *, size: int = _SIDE, salt: str = "") -> list[Image.Image]:
    """`PICTURES` pictures of one individual, each in another place."""
    instance = individual(name, salt)
    rng = random.Random(f"evaluation pictures/{_salted(name, salt)}")
    return [
        render([instance], BACKGROUNDS[i % len(BACKGROUNDS)], rng, (size, size)).image
        for i in range(PICTURES)
    ]


def write_individuals(
    out_dir: Path, names: Mapping[str, str], *, size: int = _SIDE, salt: str = ""
) -> None:
    """Write folders of pictures as sites would hold them.

    Args:
        out_dir: Created where missing.
        names: Site -> individual.
        size: Width and height of the pictures.
        salt: Gives other individuals under the same names.

    Raises:
        ZooError: a file cannot be written.
    """
    for site, name in names.items():
        folder = out_dir / site
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(pictures_of(name, size=size, salt=salt)):
                picture.save(folder / f"{name}-{number + 1}.png")
            kind = individual(name, salt).kind
            (folder / "concept.toml").write_text(
                f'name = "{name}"\nclass_word = "{kind}"\n'
            )
        except OSError as error:
            raise ZooError(f"{folder}: cannot be written: {error.strerror}") from error


def _salted(name: str, salt: str) -> str:
    return f"{salt}/{name}" if salt else name


def _drawn(name: str, kind: str, salt: str, *, marked: bool) -> Instance:
    """The first individual of the name's own chance that is as marked as wanted."""
    rng = random.Random(f"evaluation/{_salted(name, salt)}")
    while True:
        instance = random_instance(rng, kind=kind, free=marked)
        if (instance.mark != "none") == marked:
            return instance
