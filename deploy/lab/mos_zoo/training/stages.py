"""The trained stages by name."""

from pathlib import Path

from mos_model.errors import ZooError
from mos_zoo.models.classifier import ClassifierStage
from mos_zoo.models.clip import ClipStage
from mos_zoo.models.controls import AdapterStage, ControlNetStage
from mos_zoo.models.decoder import DecoderStage
from mos_zoo.models.unet import UnetStage
from mos_zoo.models.vae import VaeStage
from mos_zoo.training.loop import Stage


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
