"""What was exported draws, in plain diffusers, what the concept draws here.

The concept's words are equal over the layers, so nothing is lost (see `exporting`), and
pictures at one seed are at most 1 of 255 apart. Stock diffusers runs in a process of
its own.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from mos_model.bases.base import load_base
from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_model.concepts.applying import as_fused
from mos_model.concepts.concept import Concept
from mos_model.interop import export_diffusers, export_kohya, export_merged
from mos_model.interop.exporting import DIFFUSERS_FILE, KOHYA_FILE
from mos_model.sampling import Layout, sampling
from tests.support.bases import save_tiny_sd, spell_as_on_the_hub
from tests.support.concepts import random_concept
from tests.support.families import SIDE, save_family
from tests.support.stock import TRANSFORMERS_4, Stock, python_with, stock_diffusers

STEPS, GUIDANCE, SEED = 4, 3.0, 3
PROMPT, PLAIN = "a photo of a <rex> on the beach", "a photo of a cat on the beach"

Draw = Callable[..., Image.Image]


@pytest.fixture(
    scope="module",
    params=["installed", pytest.param("transformers 4", marks=pytest.mark.slow)],
)
def process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stock]:
    folder, python = tmp_path_factory.mktemp("stock"), Path(sys.executable)
    if request.param != "installed":
        older = python_with(folder / "python", TRANSFORMERS_4)
        if older is None:
            pytest.skip("transformers 4 cannot be fetched")
        python = older
    with stock_diffusers(folder, python) as started:
        yield started


@pytest.fixture
def stock(process: Stock) -> Draw:
    def draw(
        base: Path | str,
        prompt: str,
        *,
        side: int = 32,
        negative: str = "",
        **also: Any,
    ) -> Image.Image:
        return process.draw(
            base,
            prompt=prompt,
            negative_prompt=negative or None,
            height=side,
            width=side,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            seed=SEED,
            **also,
        )

    return draw


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Spelt as bases are on the hub, which all versions of transformers read."""
    folder = tmp_path_factory.mktemp("base")
    return str(spell_as_on_the_hub(save_tiny_sd(folder)))


@pytest.fixture(scope="module")
def concept(inventory: Inventory) -> Concept:
    return strong(inventory)


@pytest.fixture(scope="module")
def wanted(base: str, concept: Concept) -> dict[str, Image.Image]:
    """Our own pictures of both prompts."""
    return {p: ours(base, concept, p) for p in (PROMPT, PLAIN)}


def strong(inventory: Inventory) -> Concept:
    """Strong enough to change every picture; its words are equal over layers."""
    made = random_concept(inventory, strength=0.5)
    words = {
        encoder: (20 * vectors[:, :1]).expand_as(vectors).contiguous()
        for encoder, vectors in made.embeddings.items()
    }
    return Concept(made.facts, made.lora, words)


def ours(
    base: Path | str,
    concept: Concept | None,
    prompt: str,
    *,
    side: int = 32,
    negative: str = "",
) -> Image.Image:
    model = None if concept is None else as_fused(concept)
    with sampling(load_base(str(base)), model) as sampler:
        pictures = sampler.sample(
            Layout(prompt, side, side, negative_prompt=negative),
            seeds=[SEED],
            steps=STEPS,
            guidance=GUIDANCE,
        )
    return pictures[0]


def apart(one: Image.Image, other: Image.Image) -> float:
    """Largest difference of any value, 0 to 255."""
    first, second = (np.asarray(image, dtype=float) for image in (one, other))
    return float(np.abs(first - second).max())


def test_plain_lora_draws_the_same_picture(
    base: str, stock: Draw, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_diffusers(as_fused(concept), out)
    drawn = stock(base, PLAIN, lora=out / DIFFUSERS_FILE)
    assert apart(drawn, wanted[PLAIN]) <= 1
    assert apart(stock(base, PLAIN), wanted[PLAIN]) > 5


def test_words_equal_over_layers_draw_the_same_picture(
    base: str, stock: Draw, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_diffusers(as_fused(concept), out)
    lora, words = out / DIFFUSERS_FILE, out / "embeddings" / "rex.safetensors"
    drawn = stock(base, PROMPT, lora=lora, words={"<rex>": words})
    assert apart(drawn, wanted[PROMPT]) <= 1
    assert apart(stock(base, PROMPT, lora=lora), wanted[PROMPT]) > 1


def test_kohya_file_and_a1111_words_draw_the_same_picture(
    base: str, stock: Draw, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_kohya(as_fused(concept), out)
    words = {"<rex>": out / "embeddings" / "rex.safetensors"}
    drawn = stock(base, PROMPT, lora=out / KOHYA_FILE, words=words)
    assert apart(drawn, wanted[PROMPT]) <= 1


def test_merged_pipeline_needs_neither_lora_nor_words(
    base: str, stock: Draw, concept: Concept, wanted: dict[str, Image.Image], out: Path
) -> None:
    export_merged(as_fused(concept), load_base(base), out)
    for prompt in (PROMPT, PLAIN):
        assert apart(stock(out, prompt), wanted[prompt]) <= 1
    # The result is itself a base.
    assert apart(ours(out, None, PLAIN), wanted[PLAIN]) <= 1
    # transformers 4 reads this spelling alone.
    assert (out / "tokenizer" / "vocab.json").is_file()
    keys = load_file(out / "text_encoder" / "model.safetensors")
    assert all(key.startswith("text_model.") for key in keys)


@pytest.mark.slow
@pytest.mark.parametrize("negative", ["", "a dog"])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_export_of_every_family_draws_the_same_picture(
    tmp_path: Path, stock: Draw, family: str, negative: str
) -> None:
    base = spell_as_on_the_hub(save_family(tmp_path / "base", family))
    concept = strong(read_inventory(str(base)))
    how: dict[str, Any] = {"side": SIDE, "negative": negative}
    wanted = ours(base, concept, PROMPT, **how)
    assert apart(stock(base, PROMPT, **how), wanted) > 5
    forms = {DIFFUSERS_FILE: export_diffusers, KOHYA_FILE: export_kohya}
    for file, export in forms.items():
        out = tmp_path / file
        export(as_fused(concept), out)
        words = {"<rex>": out / "embeddings" / "rex.safetensors"}
        drawn = stock(base, PROMPT, lora=out / file, words=words, **how)
        assert apart(drawn, wanted) <= 1, file
    export_merged(as_fused(concept), load_base(str(base)), tmp_path / "merged")
    assert apart(stock(tmp_path / "merged", PROMPT, **how), wanted) <= 1
