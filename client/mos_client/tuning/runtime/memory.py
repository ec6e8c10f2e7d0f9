"""Gradient checkpointing of the UNet and the text encoder(s)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from mos_model.bases.base import Base


@contextmanager
def gradient_checkpointing(base: Base, *, wanted: bool) -> Iterator[None]:
    """Inside, the base recomputes activations in the backward pass, where `wanted`.

    The models stay in evaluation mode, without dropout. transformers checkpoints only
    layers in training mode, and its switch has another name in every other version: so
    the layers alone, not their parts, are told.
    """
    if not wanted:
        yield
        return
    layers = [
        layer
        for encoder in base.text_encoders.values()
        for layer in encoder.modules()
        if isinstance(layer, GradientCheckpointingLayer)
    ]
    base.unet.enable_gradient_checkpointing()
    for layer in layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing = layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False
        base.unet.disable_gradient_checkpointing()
