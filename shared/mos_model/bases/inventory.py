"""What a base offers to concepts, read from file headers alone.

An `Inventory` names every attention projection of a base with its shape, the widths of
its token embeddings, and the number of cross-attention blocks. It is all that the
admission of a bundle needs to know of a base, so that no model is built (and torch is
not imported) where only names and shapes are compared.

Module names are canonical: `unet.<module>` and `text_encoder.<module>` without the
`text_model.` that transformers dropped from CLIPTextModel in 5.6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KOHYA_XTI_LAYERS = (
    *("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID"),
    *("OUT03", "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11"),
)
"""kohya's names of the 16 cross-attention blocks of Stable Diffusion 1 and 2."""

_UNET_PROJECTION = re.compile(r"\.attn[12]\.to_(q|k|v|out\.0)$")
_TEXT_PROJECTION = re.compile(r"\.self_attn\.(q|k|v|out)_proj$")
_STAGE_ORDER = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}

Shape = tuple[int, ...]


def canonical_module(component: str, module: str) -> str:
    """The one name that `module` of `component` has in every file of ours.

    Args:
        component: "unet", "text_encoder" or "text_encoder_2".
        module: The module's name inside the component, as any version of diffusers
            or transformers spells it.
    """
    return f"{component}.{module.removeprefix('text_model.')}"


def forward_order(module: str) -> tuple[int | str, ...]:
    """A sorting key that puts UNet modules in the order the forward pass meets them.

    diffusers registers `up_blocks` before `mid_block`; data flows down, mid, up.
    """
    parts = module.removeprefix("unet.").split(".")
    indices = [int(part) if part.isdigit() else part for part in parts[1:]]
    return (_STAGE_ORDER[parts[0]], *indices)


def layer_names(layers: int) -> tuple[str, ...]:
    """Names of the layer-wise embeddings on disk: kohya's for 16, else by index."""
    if layers == len(KOHYA_XTI_LAYERS):
        return KOHYA_XTI_LAYERS
    return tuple(f"{layer:02d}" for layer in range(layers))


@dataclass(frozen=True)
class Inventory:
    """The names and shapes of a base that concepts and releases must match."""

    base: str
    """Fingerprint of the base, 64 hexadecimal digits."""

    projections: Mapping[str, tuple[int, int]]
    """Canonical name of every attention projection -> (d_out, d_in)."""

    embedding_widths: Mapping[str, int]
    """Text encoder ("text_encoder", "text_encoder_2") -> token embedding width D."""

    layers: int
    """L, the number of cross-attention blocks of the UNet."""

    label: str = field(default="", compare=False)
    """What a person calls the base, for messages; not part of its identity."""

    @staticmethod
    def from_tensor_shapes(
        base: str, components: Mapping[str, Mapping[str, Shape]], *, label: str = ""
    ) -> "Inventory":
        """The inventory of a base whose weight files hold these tensors.

        Args:
            base: Fingerprint of the base.
            components: Component name -> tensor name -> shape.
            label: What a person calls the base.

        Raises:
            ValueError: no cross-attention block, or no token embedding, is there.
        """
        projections: dict[str, tuple[int, int]] = {}
        widths: dict[str, int] = {}
        for component, tensors in components.items():
            pattern = _UNET_PROJECTION if component == "unet" else _TEXT_PROJECTION
            for name, shape in tensors.items():
                module, _, kind = name.rpartition(".")
                if kind != "weight":
                    continue
                if pattern.search(f".{module}"):
                    d_out, d_in = shape[:2]
                    projections[canonical_module(component, module)] = (d_out, d_in)
                elif module.endswith("token_embedding"):
                    widths[component] = shape[1]
        layers = sum(name.endswith(".attn2.to_k") for name in projections)
        if not layers or not widths:
            raise ValueError(
                "either the UNet has no cross-attention, or no text encoder has a "
                "token embedding"
            )
        ordered = dict(sorted(projections.items()))
        return Inventory(base, ordered, dict(sorted(widths.items())), layers, label)

    def lora_shapes(self, rank: int) -> dict[str, Shape]:
        """Every LoRA tensor of a rank-`rank` concept, or of a release of that rank sum.

        `lora_A` is the down factor [rank, d_in], `lora_B` the up factor [d_out, rank].
        """
        shapes: dict[str, Shape] = {}
        for module, (d_out, d_in) in self.projections.items():
            shapes[f"{module}.lora_A.weight"] = (rank, d_in)
            shapes[f"{module}.lora_B.weight"] = (d_out, rank)
        return shapes

    def embedding_shapes(self) -> dict[str, Shape]:
        """The layer-wise embeddings of one concept: rows V_rand and V_class, [2, D]."""
        return {
            f"{encoder}.{layer}": (2, width)
            for encoder, width in self.embedding_widths.items()
            for layer in layer_names(self.layers)
        }

    def cross_attention_modules(self) -> tuple[str, ...]:
        """Canonical names of the L cross-attention blocks, in forward order."""
        blocks = (
            name.removesuffix(".to_k")
            for name in self.projections
            if name.endswith(".attn2.to_k")
        )
        return tuple(sorted(blocks, key=forward_order))
