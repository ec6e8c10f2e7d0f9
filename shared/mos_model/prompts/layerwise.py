"""Layer-wise prompts: each cross-attention block reads its own encoding (P+).

An encoded prompt has one encoding per cross-attention block: [N, L, T, D]. Pipelines
and UNets of diffusers take [N, T', D], so the layers travel stacked along the token
axis, [N, L*T, D], and a pre-hook on each cross-attention block takes out its own slice,
a view. Whatever attention processor is set keeps working.

Inside `layerwise(unet, layers)` every `encoder_hidden_states` must be stacked.
Source: P+ (arXiv:2303.09522); Mix-of-Show (arXiv:2305.18292), section 3.1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mos_model.bases.inventory import forward_order


def cross_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """The L cross-attention blocks by module name, in forward order."""
    blocks = {n: m for n, m in unet.named_modules() if n.endswith(".attn2")}
    return {name: blocks[name] for name in sorted(blocks, key=forward_order)}


def stack_layers(
    hidden: Float[Tensor, "n layers tokens width"],
) -> Float[Tensor, "n layers_tokens width"]:
    """Put the layers' encodings one behind the other, as `layerwise` expects them."""
    return hidden.flatten(1, 2)


@contextmanager
def layerwise(unet: nn.Module) -> Iterator[None]:
    """Let every cross-attention block of `unet` read its own slice of the text."""
    blocks = list(cross_attentions(unet).values())
    handles = [
        block.register_forward_pre_hook(_slice_of(layer, len(blocks)), with_kwargs=True)
        for layer, block in enumerate(blocks)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _slice_of(layer: int, layers: int) -> Any:
    def take_own_layer(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        stacked = kwargs["encoder_hidden_states"]
        tokens, rest = divmod(stacked.shape[1], layers)
        assert not rest, "the prompt's encoding is not stacked by layer"
        own = stacked[:, layer * tokens : (layer + 1) * tokens]
        return args, kwargs | {"encoder_hidden_states": own}

    return take_own_layer
