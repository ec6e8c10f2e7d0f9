"""The world's pictures as arrays on disk, rendered once, by seed.

A set is cut into chunks; a chunk is one file, written whole or not at all, so that an
interrupted rendering goes on where it stopped. Training and held-out seeds are apart.
"""

import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from mos_model.errors import ZooError
from mos_runtime.files import write_atomically
from mos_zoo.world.world import BACKGROUNDS, Instance, caption, random_instance, render

WORLD_VERSION: Final = 1
"""Raised whenever the same seed draws another picture: data is rendered anew then."""

CAPTIONS_PER_PICTURE: Final = 4
HELD_OUT: Final = 1 << 40
"""Seeds from here on are never trained on."""

_CHUNK: Final = 2000


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size."""

    size: tuple[int, int]
    """Width and height in pixels."""
    count: int
    seed: int
    """Picture i is drawn from seed + i."""
    twins: bool = False
    """Pictures 2k and 2k + 1 show one individual, alone, in two places."""


SETS: Final[Mapping[str, PictureSet]] = {
    "square": PictureSet((64, 64), 40_000, 0),
    "medium": PictureSet((96, 64), 4_000, 1 << 32),
    "double": PictureSet((128, 64), 8_000, 2 << 32),
    "triple": PictureSet((192, 64), 4_000, 3 << 32),
    "twins": PictureSet((64, 64), 12_000, 4 << 32, twins=True),
}


@dataclass(frozen=True)
class Scene:
    """One drawn picture with all that is known of it."""

    pixels: UInt8[np.ndarray, "height width 3"]
    subject: UInt8[np.ndarray, "height width"]
    """1 where any subject is."""
    captions: list[str]
    instances: list[Instance]
    background: str


@dataclass(frozen=True)
class Pictures:
    """Many pictures of one size, in memory."""

    pixels: UInt8[np.ndarray, "count height width 3"]
    subject: UInt8[np.ndarray, "count height width"]
    captions: list[list[str]]


def draw_scene(seed: int, size: tuple[int, int]) -> Scene:
    """The picture of one seed."""
    rng = random.Random(seed)
    count = _how_many(rng, size[0] / size[1])
    return _drawn([random_instance(rng) for _ in range(count)], rng, size)


def draw_twin(seed: int, size: tuple[int, int]) -> Scene:
    """A picture of one individual; seeds 2k and 2k + 1 share it."""
    instance = random_instance(random.Random(f"individual/{seed // 2}"))
    return _drawn([instance], random.Random(seed), size)


def _drawn(
    instances: list[Instance], rng: random.Random, size: tuple[int, int]
) -> Scene:
    background = rng.choice(BACKGROUNDS)
    drawn = render(instances, background, rng, size)
    subject = np.zeros((size[1], size[0]), np.uint8)
    for mask in drawn.masks:
        subject |= mask
    return Scene(
        np.asarray(drawn.image),
        subject,
        [caption(instances, background, rng) for _ in range(CAPTIONS_PER_PICTURE)],
        instances,
        background,
    )


def _how_many(rng: random.Random, width: float) -> int:
    """How many subjects a canvas `width` heights wide gets; now and then none."""
    weights: tuple[int, ...] = (4, 26, 25, 45)
    if width < 1.4:
        weights = (3, 72, 25)
    elif width < 1.9:
        weights = (3, 42, 55)
    elif width < 2.5:
        weights = (4, 36, 50, 10)
    return rng.choices(range(len(weights)), weights)[0]


def render_sets(
    folder: Path, *, workers: int, sets: Mapping[str, PictureSet] = SETS
) -> None:
    """Draw whatever chunks are missing below `folder`.

    Raises:
        StorageError: the disk is full or read-only.
    """
    missing = [
        (name, chunk)
        for name, pictures in sets.items()
        for chunk in range(-(-pictures.count // _CHUNK))
        if not _chunk_path(folder, name, chunk).exists()
    ]
    if workers < 2 or len(missing) < 2:
        for name, chunk in missing:
            _render_chunk(folder, name, sets[name], chunk)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [
            pool.submit(_render_chunk, folder, name, sets[name], chunk)
            for name, chunk in missing
        ]
        for job in jobs:
            job.result()


def load_captions(folder: Path, name: str) -> list[list[str]]:
    """The captions of one set, in the order of its pictures.

    Raises:
        ZooError: the set was never rendered here, or a file of it is broken.
    """
    return load_set(folder, name).captions


def load_set(folder: Path, name: str, limit: int | None = None) -> Pictures:
    """The pictures of one set, up to about `limit` of them.

    Raises:
        ZooError: the set was never rendered here, or a file of it is broken.
    """
    files = sorted(_set_folder(folder).glob(f"{name}-*.npz"))
    if not files:
        raise ZooError(f"{folder}: no pictures of {name!r}; run the stage `world`")
    if limit is not None:
        files = files[: max(1, -(-limit // _CHUNK))]
    chunks = [_read_chunk(path) for path in files]
    return Pictures(
        np.concatenate([chunk.pixels for chunk in chunks]),
        np.concatenate([chunk.subject for chunk in chunks]),
        [captions for chunk in chunks for captions in chunk.captions],
    )


def held_out(
    count: int, size: tuple[int, int] = (64, 64), start: int = 0
) -> Iterator[Scene]:
    """Scenes that no stage trains on."""
    for i in range(count):
        yield draw_scene(HELD_OUT + start + i, size)


def _set_folder(folder: Path) -> Path:
    return folder / f"world-{WORLD_VERSION}"


def _chunk_path(folder: Path, name: str, chunk: int) -> Path:
    return _set_folder(folder) / f"{name}-{chunk:04d}.npz"


def _render_chunk(folder: Path, name: str, pictures: PictureSet, chunk: int) -> None:
    first = chunk * _CHUNK
    draw = draw_twin if pictures.twins else draw_scene
    scenes = [
        draw(pictures.seed + i, pictures.size)
        for i in range(first, min(first + _CHUNK, pictures.count))
    ]
    file = io.BytesIO()
    captions = json.dumps([scene.captions for scene in scenes]).encode()
    np.savez(
        file,
        pixels=np.stack([scene.pixels for scene in scenes]),
        subject=np.stack([scene.subject for scene in scenes]),
        captions=np.frombuffer(captions, np.uint8),
    )
    write_atomically(_chunk_path(folder, name, chunk), file.getvalue())


def _read_chunk(path: Path) -> Pictures:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            captions: Sequence[list[str]] = json.loads(arrays["captions"].tobytes())
            return Pictures(arrays["pixels"], arrays["subject"], list(captions))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ZooError(
            f"{path}: not a whole file of pictures ({error}); delete it and run the "
            "stage `world`"
        ) from error
