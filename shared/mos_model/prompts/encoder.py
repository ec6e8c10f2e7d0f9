"""From prompts with placeholders to encodings, one per cross-attention block.

`<rex>` in a prompt stands for two tokens, V_rand and V_class (Mix-of-Show, section
3.1), each with one vector per cross-attention block. A prompt with a placeholder is
therefore encoded L times, any other once. Nothing is cut off silently: a prompt that
needs more than T tokens is refused.

The placeholders' token ids never reach the encoder: an ordinary id takes their place,
and a hook on the token embedding puts the concept's vectors there. No embedding table
is resized or trained, and CLIP still finds its end token.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mos_model.bases.base import Base
from mos_model.concepts.concept import FusedModel, LayerwiseEmbeddings
from mos_model.prompts.layerwise import stack_layers
from mos_model.prompts.prompt_tokens import ROWS, PromptTokenizer, TokenizedPrompt


@dataclass(frozen=True)
class EncodedPrompts:
    """What the UNet reads of N prompts."""

    hidden: Float[Tensor, "n layers tokens width"]
    pooled: Float[Tensor, "n pooled"] | None
    """SDXL's pooled text, the mean over a prompt's layer-wise variants."""

    def stacked(self) -> Float[Tensor, "n layers_tokens width"]:
        """`hidden` in the form that `layerwise.layerwise` takes."""
        return stack_layers(self.hidden)


def embeddings_by_name(model: FusedModel) -> dict[str, LayerwiseEmbeddings]:
    """The words of a fused model by the names that prompts give them.

    `<site/name>` always works, `<name>` where one site alone has that name.
    """
    words: dict[str, LayerwiseEmbeddings] = {}
    for concept in model.concepts:
        words[concept.key] = concept.embeddings
        if sum(other.name == concept.name for other in model.concepts) == 1:
            words[concept.name] = concept.embeddings
    return words


class PromptEncoder:
    """Encodes prompts on a base with the words of some concepts.

    The embeddings are read at every call, so parameters in training work as they are,
    and gradients flow into them.
    """

    def __init__(
        self, base: Base, embeddings: Mapping[str, LayerwiseEmbeddings]
    ) -> None:
        """Take the base's encoders and the concepts' words.

        Args:
            base: The base whose text encoder(s) encode, as they are at each call.
            embeddings: Placeholder name -> encoder name -> [2, L, D], or [2, 1, D]
                where all layers read alike; a prompt of such words is encoded once.
        """
        self._base = base
        self._embeddings = embeddings
        self.tokenizer = PromptTokenizer(base.tokenizers, embeddings)
        """Splits prompts; knows the same words."""

    @staticmethod
    def of(base: Base, model: FusedModel) -> "PromptEncoder":
        """An encoder with the words of a fused model (see `embeddings_by_name`)."""
        return PromptEncoder(base, embeddings_by_name(model))

    def encode(self, prompts: Sequence[str | None]) -> EncodedPrompts:
        """Encode prompts; equal ones are encoded once.

        Args:
            prompts: Texts. None is no prompt, which guidance steers away from where
                there is no negative prompt: zeros, hidden and pooled, on a base with
                `force_zeros_for_empty_prompt` (SDXL), elsewhere the empty text.

        Raises:
            PromptError: an unknown placeholder, or more tokens than the base takes.
        """
        texts = [prompt or "" for prompt in prompts]
        unique = list(dict.fromkeys(texts))
        parts = [
            self._encode_with(encoder, [self.tokenize(p, encoder) for p in unique])
            for encoder in self._base.text_encoders
        ]
        order = torch.tensor([unique.index(text) for text in texts])
        hidden = torch.cat([hidden for hidden, _ in parts], dim=-1)
        order = order.to(hidden.device)
        hidden, pooled = hidden[order], parts[-1][1]
        pooled = None if pooled is None else pooled[order]
        absent = [row for row, prompt in enumerate(prompts) if prompt is None]
        if absent and self._base.zeros_without_prompt:
            hidden[absent] = 0
            if pooled is not None:
                pooled[absent] = 0
        return EncodedPrompts(hidden, pooled)

    def tokenize(self, prompt: str, encoder: str = "text_encoder") -> TokenizedPrompt:
        """Token ids and concept positions; see `PromptTokenizer.tokenize`."""
        return self.tokenizer.tokenize(prompt, encoder)

    def _encode_with(
        self, encoder: str, prompts: Sequence[TokenizedPrompt]
    ) -> tuple[
        Float[Tensor, "n layers tokens width"], Float[Tensor, "n pooled"] | None
    ]:
        """Encode with one text encoder; L variants where a concept is named."""
        layers = self._base.inventory.layers
        counts = [self._variants(p, encoder) for p in prompts]
        variants = [
            (p, v) for p, n in zip(prompts, counts, strict=True) for v in range(n)
        ]
        rows = torch.tensor([p.ids for p, _ in variants], device=self._base.device)
        places: list[tuple[int, int]] = []
        vectors: list[Float[Tensor, "_ width"]] = []
        for name, own in _places_by_name(variants).items():
            words = self._embeddings[name][encoder]
            layer = [min(layer, words.shape[1] - 1) for *_, layer in own]
            places += [(row, at) for row, at, _, _ in own]
            # One read for all places: autograd keeps a node for each read.
            vectors.append(words[[k for *_, k, _ in own], layer])
        model = self._base.text_encoders[encoder]
        with _overwritten(model.get_input_embeddings(), places, vectors):
            hidden, pooled = _run(model, rows, penultimate=self._base.is_xl)
        hidden = torch.stack(
            [part.expand(layers, -1, -1) for part in torch.split(hidden, counts)]
        )
        if pooled is not None:
            pooled = torch.stack([part.mean(0) for part in torch.split(pooled, counts)])
        return hidden, pooled

    def _variants(self, prompt: TokenizedPrompt, encoder: str) -> int:
        """How many encodings a prompt needs: L, or 1 where all layers read alike."""
        words = [self._embeddings[name][encoder] for _, name in prompt.concepts]
        return max((own.shape[1] for own in words), default=1)


def _places_by_name(
    variants: Sequence[tuple[TokenizedPrompt, int]],
) -> dict[str, list[tuple[int, int, int, int]]]:
    """By concept, where its vectors stand: row, position, V_rand or V_class, layer."""
    places: dict[str, list[tuple[int, int, int, int]]] = {}
    for row, (prompt, layer) in enumerate(variants):
        for first, name in prompt.concepts:
            own = places.setdefault(name, [])
            own += [(row, first + k, k, layer) for k in range(ROWS)]
    return places


def _run(
    model: Any, ids: Tensor, *, penultimate: bool
) -> tuple[Float[Tensor, "rows tokens width"], Float[Tensor, "rows pooled"] | None]:
    """The features the UNet reads: SD's last normed layer, SDXL's last but one."""
    if not penultimate:
        return model(ids).last_hidden_state, None
    output = model(ids, output_hidden_states=True)
    return output.hidden_states[-2], getattr(output, "text_embeds", None)


@contextmanager
def _overwritten(
    embedding: nn.Module,
    places: Sequence[tuple[int, int]],
    vectors: Sequence[Float[Tensor, "_ width"]],
) -> Iterator[None]:
    """Let `embedding` give `vectors` at (row, position) `places`."""
    if not places:
        yield
        return

    def put_vectors(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        index = torch.tensor(places, device=output.device).unbind(1)
        return output.index_put(index, torch.cat(list(vectors)).to(output))

    handle = embedding.register_forward_hook(put_vectors)
    try:
        yield
    finally:
        handle.remove()
