"""Gradient checkpointing of the UNet and the text encoder(s)."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.modeling_layers import GradientCheckpointingLayer

from mos_shared.base import Base


@contextmanager
def gradient_checkpointing(base: Base, *, wanted: bool) -> Iterator[None]:
    """Inside, the base recomputes activations in the backward pass, where `wanted`.

    The models stay in evaluation mode, without dropout. transformers checkpoints only
    layers in training mode, so the flag is set on the layers alone, not on their parts.
    """
    if not wanted:
        yield
        return
    base.unet.enable_gradient_checkpointing()
    layers = []
    for encoder in base.text_encoders.values():
        encoder.gradient_checkpointing_enable({"use_reentrant": False})
        layers += [
            layer
            for layer in encoder.modules()
            if isinstance(layer, GradientCheckpointingLayer)
        ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        for encoder in base.text_encoders.values():
            encoder.gradient_checkpointing_disable()
        base.unet.disable_gradient_checkpointing()
