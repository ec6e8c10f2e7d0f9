"""Three individuals of the world, and their pictures as three sites would hold them.

    python -m mos_zoo.world.demo OUT_DIR

writes OUT_DIR/<site>/: eight pictures of one individual and a `concept.toml`.
"""

import argparse
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mos_model.errors import ZooError
from mos_zoo.world.world import BACKGROUNDS, Instance, render

DEMO_INSTANCES: Final[Mapping[str, Instance]] = {
    "miso": Instance(
        kind="cat",
        body=(40, 202, 190),
        mark="part",
        mark_color=(255, 122, 40),
        proportions=(0.9, 0.8),
    ),
    "bolt": Instance(
        kind="robot",
        body=(255, 128, 92),
        mark="part",
        mark_color=(255, 236, 70),
        proportions=(0.2, 0.9),
    ),
    "rex": Instance(
        kind="dog",
        body=(186, 160, 246),
        mark="part",
        mark_color=(250, 214, 60),
        proportions=(0.8, 0.2),
    ),
}
"""Each demo site's concept name and its individual; no look of them has a name. What
sets them apart is large enough to come back out of the base's latents."""

DEMO_SITES: Final[Mapping[str, str]] = {
    "studio": "miso",
    "lab": "bolt",
    "museum": "rex",
}
"""Site -> the individual that it alone has pictures of."""

PICTURES_PER_SITE: Final = 8


def render_demo_sites(out_dir: Path, size: int = 64) -> tuple[Path, ...]:
    """Write the three sites' folders of pictures, the same bytes every time.

    Args:
        out_dir: Created where missing; each site's folder bears its name.
        size: Width and height of the pictures.

    Returns:
        The sites' folders, in the order of `DEMO_SITES`.

    Raises:
        ZooError: a file cannot be written.
    """
    folders = []
    for site, name in DEMO_SITES.items():
        folder, instance = out_dir / site, DEMO_INSTANCES[name]
        rng = random.Random(f"demo/{name}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(PICTURES_PER_SITE):
                background = BACKGROUNDS[i % len(BACKGROUNDS)]
                picture = render([instance], background, rng, (size, size)).image
                picture.save(folder / f"{name}-{i + 1}.png")
            (folder / "concept.toml").write_text(
                f'name = "{name}"\nclass_word = "{instance.kind}"\n'
            )
        except OSError as error:
            raise ZooError(f"{folder}: cannot be written: {error.strerror}") from error
        folders.append(folder)
    return tuple(folders)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo sites' pictures.")
    parser.add_argument("out_dir", type=Path)
    for folder in render_demo_sites(parser.parse_args().out_dir):
        print(folder)
