"""The trained stages by name."""

from pathlib import Path

from mos_shared.errors import ZooError
from mos_shared.zoo.classifier import ClassifierStage
from mos_shared.zoo.clip import ClipStage
from mos_shared.zoo.controls import AdapterStage, ControlNetStage
from mos_shared.zoo.decoder import DecoderStage
from mos_shared.zoo.loop import Stage
from mos_shared.zoo.unet import UnetStage
from mos_shared.zoo.vae import VaeStage


def stage_of(name: str, state: Path) -> Stage:
    """A stage that trains, with its data below `state`.

    Raises:
        ZooError: there is no such stage.
    """
    data = state / "data"
    stages: dict[str, Stage] = {
        "vae": VaeStage(data),
        "clip": ClipStage(data),
        "decoder": DecoderStage(state),
        "unet": UnetStage(state),
        "adapter": AdapterStage(state),
        "controlnet": ControlNetStage(state),
        "classifier": ClassifierStage(state),
    }
    if name not in stages:
        known = ", ".join(("world", "latents", *stages))
        raise ZooError(f"stage {name!r}: the stages are {known}")
    return stages[name]
