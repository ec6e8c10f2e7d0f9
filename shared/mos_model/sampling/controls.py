"""Pictures that steer: T2I-Adapters and ControlNets, several at once, by region.

T2I-Adapter (arXiv:2302.08453) turns its picture once into one feature map for each
down block; ControlNet (arXiv:2302.05543) computes residuals at every step. Both are
added into the UNet by a hook on its call, so the pipeline stays a stock one. Weights by
region multiply these maps cell by cell, by the regions' shares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import T2IAdapter
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mos_model.bases.base import Base
from mos_model.layouts.layout import Layout
from mos_model.prompts.layerwise import cross_attentions, layerwise
from mos_model.sampling.shares import Shares

Residuals = dict[str, list[Tensor]]
"""Keyword of the UNet's call -> maps to add."""

_WITHIN = "down_intrablock_additional_residuals"
_SKIPS = "down_block_additional_residuals"
_MIDDLE = "mid_block_additional_residual"


@contextmanager
def controlled(
    base: Base,
    models: Mapping[str, Any],
    layouts: Sequence[Layout],
    shares: Sequence[Shares],
) -> Iterator[Callable[[float], None]]:
    """Let the layouts' controls steer the base's UNet.

    Args:
        base: The base.
        models: `T2IAdapter` or `ControlNetModel` by the name that controls have.
        layouts: One for each picture of the batch, with controls of the same models in
            the same order.
        shares: Of each picture.

    Yields:
        To be told, after every step, what share of the steps is done.
    """
    count = len(layouts[0].controls)
    steers = [
        _Steer(base, models[layouts[0].controls[slot].model], slot, layouts, shares)
        for slot in range(count)
    ]
    share_done = 0.0

    def done(share: float) -> None:
        nonlocal share_done
        share_done = share

    def add_residuals(
        unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        total: Residuals = {}
        for steer in steers:
            for name, maps in steer.residuals(args, kwargs, share_done).items():
                before = total.get(name)
                pairs = zip(before, maps, strict=True) if before else ()
                total[name] = [a + b for a, b in pairs] if before else maps
        added: dict[str, Any] = dict(total)
        if _MIDDLE in added:
            (added[_MIDDLE],) = total[_MIDDLE]
        return args, kwargs | added

    with ExitStack() as stack:
        for steer in steers:
            stack.enter_context(layerwise(steer.model))
        handle = base.unet.register_forward_pre_hook(add_residuals, with_kwargs=True)
        stack.callback(handle.remove)
        yield done


class _Steer:
    """The controls at one place of every layout's list, all of one model."""

    def __init__(
        self,
        base: Base,
        model: Any,
        slot: int,
        layouts: Sequence[Layout],
        shares: Sequence[Shares],
    ) -> None:
        self.model = model
        self._controls = [layout.controls[slot] for layout in layouts]
        self._shares = shares
        self._layers = base.inventory.layers
        self._own_layers = max(1, len(cross_attentions(model)))
        self._is_adapter = isinstance(model, T2IAdapter)
        channels = "in_channels" if self._is_adapter else "conditioning_channels"
        images = [control.image for control in self._controls]
        self._image = _as_tensor(images, int(model.config[channels]))
        self._features: list[Tensor] | None = None

    def residuals(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], share_done: float
    ) -> Residuals:
        """What to add at a call of the UNet with these arguments."""
        active = [share_done < control.until for control in self._controls]
        if not any(active):
            return {}
        noisy = args[0]
        image = self._image = self._image.to(noisy)
        self.model.to(noisy.device)
        copies = len(noisy) // len(self._controls)
        if self._is_adapter:
            if self._features is None:
                self._features = list(self.model(image))
            return {_WITHIN: self._weighted(self._features, active, copies)}
        text = kwargs["encoder_hidden_states"]
        tokens = text.shape[1] // self._layers
        down, middle = self.model(
            *args[:2],
            encoder_hidden_states=text[:, : self._own_layers * tokens],
            controlnet_cond=image.repeat(copies, 1, 1, 1),
            added_cond_kwargs=kwargs.get("added_cond_kwargs"),
            return_dict=False,
        )
        return {
            _SKIPS: self._weighted(list(down), active, copies),
            _MIDDLE: self._weighted([middle], active, copies),
        }

    def _weighted(
        self, maps: list[Tensor], active: Sequence[bool], copies: int
    ) -> list[Tensor]:
        """Multiply by the weights; `maps` are for every row, or for every picture."""
        weighted = []
        for residual in maps:
            height, width = residual.shape[2:]
            weight = torch.stack(
                [
                    shares.weighted(weights * on, height, width)
                    for shares, weights, on in zip(
                        self._shares, self._part_weights(), active, strict=True
                    )
                ]
            )[:, None].to(residual)
            rows = copies * len(self._controls)
            residual = residual.repeat(rows // len(residual), 1, 1, 1)
            weighted.append(residual * weight.repeat(copies, 1, 1, 1))
        return weighted

    def _part_weights(self) -> list[Float[Tensor, " parts"]]:
        found = []
        for control, shares in zip(self._controls, self._shares, strict=True):
            regions = control.region_weights
            if regions is None:
                regions = (control.weight,) * (shares.parts - 1)
            found.append(torch.tensor([control.weight, *regions]))
        return found


def _as_tensor(
    images: Sequence[Image.Image], channels: int
) -> Float[Tensor, "n channels height width"]:
    """Values 0 to 1, as both kinds of control take them."""
    mode = "L" if channels == 1 else "RGB"
    pixels = np.stack([np.asarray(image.convert(mode)) for image in images])
    pixels = pixels.reshape(*pixels.shape[:3], -1)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
