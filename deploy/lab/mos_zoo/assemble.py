"""Write the mini zoo's directories from trained states.

    python -m mos_zoo.assemble [--state .zoo] [--out DIR]

`mini` is a `StableDiffusionPipeline` directory, `mini-clip` a `CLIPModel` directory,
`mini-adapter` a `T2IAdapter` and `mini-controlnet` a `ControlNetModel` directory; all
in float16, each written beside its place and then put there whole.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPImageProcessor

from mos_model.mini import weights_folder
from mos_runtime.errors import MosError, StorageError
from mos_zoo.models.clip import ClipStage
from mos_zoo.models.controls import AdapterStage, ControlNetStage
from mos_zoo.models.decoder import with_trained_decoder
from mos_zoo.models.unet import UnetStage, noise_schedule
from mos_zoo.training.journal import Journal
from mos_zoo.training.loop import Stage, trained
from mos_zoo.training.tokenizer import load_tokenizer, save_vocabulary
from mos_zoo.world.instance import CLASSES

DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "sample": {
        "steps": 20,
        "guidance": 3.0,
        "scheduler": "DPMSolverMultistepScheduler",
        "width": 64,
        "height": 64,
        "lead": 0.3,
        "isolation": 1.0,
    },
    "tune": {
        "steps": 360,
        "batch_size": 8,
        "embedding_rate": 3e-2,
        "embedding_norm": 100.0,
        "text_rate": 1e-4,
        "unet_rate": 5e-4,
        "kv_rate": 1.5e-3,
        "timestep_bias": 2.0,
        "class_words": list(CLASSES),
    },
    "fusion": {
        "ridge": 0.0001,
        "prior": 2.0,
        "prior_subjects": [
            *("red cat", "blue dog", "yellow bird", "green robot", "pink car"),
            *("striped house with a hat", "black boat and a purple fish"),
            *("cat and a dog", "red cat, a green robot and a blue dog"),
            *("car next to a bird", "white fish with red spots", "robot", "dog"),
            *("boat on the left and a house on the right", "cat, a robot and a dog"),
            "spotted dog with a green scarf",
        ],
    },
}
"""What `mini` says of its own use, in `mos_defaults.json`."""


def assemble_base(state: Path, out: Path) -> Path:
    """The base as a pipeline directory, `out / "mini"`.

    Raises:
        ZooError: a stage was not trained yet.
        StorageError: the disk is full or read-only.
    """
    denoiser: Any = trained(UnetStage(state), state, Journal())
    pipeline = StableDiffusionPipeline(
        vae=with_trained_decoder(state),
        text_encoder=denoiser.text,
        tokenizer=load_tokenizer(),
        unet=denoiser.unet,
        scheduler=noise_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)

    def write(folder: Path) -> None:
        pipeline.save_pretrained(folder)
        save_vocabulary(folder / "tokenizer")
        text = json.dumps(DEFAULTS, indent=2)
        (folder / "mos_defaults.json").write_text(f"{text}\n")

    return _put(out / "mini", write)


def assemble_clip(state: Path, out: Path) -> Path:
    """The metrics' CLIP as a transformers directory, `out / "mini-clip"`.

    Raises:
        ZooError: the stage was not trained yet.
        StorageError: the disk is full or read-only.
    """
    model: Any = trained(ClipStage(state / "data"), state, Journal())
    side = model.config.vision_config.image_size
    processor = CLIPImageProcessor(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )

    def write(folder: Path) -> None:
        model.half().save_pretrained(folder)
        processor.save_pretrained(folder)
        load_tokenizer().save_pretrained(folder)
        save_vocabulary(folder)

    return _put(out / "mini-clip", write)


def assemble_adapter(state: Path, out: Path) -> Path:
    """The T2I-Adapter on outlines, `out / "mini-adapter"`.

    Raises:
        ZooError: the stage was not trained yet.
        StorageError: the disk is full or read-only.
    """
    return _assemble_control(AdapterStage(state), state, out / "mini-adapter")


def assemble_controlnet(state: Path, out: Path) -> Path:
    """The ControlNet on masks, `out / "mini-controlnet"`.

    Raises:
        ZooError: the stage was not trained yet.
        StorageError: the disk is full or read-only.
    """
    return _assemble_control(ControlNetStage(state), state, out / "mini-controlnet")


def _assemble_control(stage: Stage, state: Path, folder: Path) -> Path:
    model: Any = trained(stage, state, Journal()).half()
    return _put(folder, model.save_pretrained)


def _put(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder beside `folder`, which then takes its place."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        write(beside)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    return folder


ASSEMBLERS: Final = (
    assemble_base,
    assemble_clip,
    assemble_adapter,
    assemble_controlnet,
)
"""One for each model of the zoo."""


def main() -> int:
    """Write whatever is trained; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mos_zoo.assemble")
    parser.add_argument("--state", type=Path, default=Path(".zoo"))
    parser.add_argument("--out", type=Path, default=weights_folder())
    options = parser.parse_args()
    try:
        for assemble in ASSEMBLERS:
            print(assemble(options.state, options.out))
    except MosError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
