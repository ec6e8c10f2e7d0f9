r"""Prompts as token ids, by a base's tokenizers alone: no weights are needed.

`<rex>` stands for two tokens, V_rand and V_class (Mix-of-Show, section 3.1); an
ordinary id takes their place here. Nothing is cut off silently: a prompt that needs
more than T tokens is refused. A literal `<` before a word is written `\<`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mos_model.errors import PromptError
from mos_runtime.nearest import way_out

_PLACEHOLDER: Final = re.compile(r"(?<!\\)<([^<>\s]+)>")
_WEIGHTED: Final = re.compile(r"(lora|lyco|hypernet):", re.IGNORECASE)

ROWS: Final = 2
"""Tokens of a placeholder: V_rand and V_class."""


def placeholders(prompt: str) -> tuple[str, ...]:
    """The names between angle brackets in `prompt`, in order, with repeats."""
    return tuple(_PLACEHOLDER.findall(prompt))


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as token ids, with an ordinary id where a concept's vectors go."""

    ids: tuple[int, ...]
    """T ids: start, words, end, padding."""

    concepts: tuple[tuple[int, str], ...]
    """(first position, name) of every placeholder; it covers two positions."""

    end: int
    """Position of the end token."""

    def concept_positions(self) -> tuple[int, ...]:
        """Positions of every V_rand and V_class in the prompt."""
        return tuple(first + row for first, _ in self.concepts for row in range(ROWS))


class PromptTokenizer:
    """Splits prompts by the tokenizer of each text encoder."""

    def __init__(self, tokenizers: Mapping[str, Any], names: Collection[str]) -> None:
        """Take the tokenizers and the placeholders that are known.

        Args:
            tokenizers: By text encoder, as `Base.tokenizers`.
            names: Names of placeholders, `name` and `site/name`.
        """
        self._tokenizers, self._names = tokenizers, names

    def check(self, prompt: str) -> None:
        """Refuse a prompt that one of the encoders cannot read.

        Raises:
            PromptError: an unknown placeholder, or more tokens than the base takes.
        """
        for encoder in self._tokenizers:
            self.tokenize(prompt, encoder)

    def tokenize(self, prompt: str, encoder: str = "text_encoder") -> TokenizedPrompt:
        """Token ids and concept positions of one prompt.

        Raises:
            PromptError: an unknown placeholder, or more tokens than the base takes.
        """
        ids, concepts = self._split(prompt, encoder)
        if len(ids) + 1 > self.limit:
            raise PromptError(
                f"the prompt needs {len(ids) + 1} tokens, the base takes {self.limit}: "
                f"shorten {prompt[:60]!r}"
            )
        tokenizer = self._tokenizers[encoder]
        end = len(ids)
        padding = [tokenizer.pad_token_id] * (self.limit - end - 1)
        return TokenizedPrompt(
            (*ids, tokenizer.eos_token_id, *padding), tuple(concepts), end
        )

    @property
    def limit(self) -> int:
        """T of CLIP's position embedding; the shortest of the encoders counts."""
        return min(int(t.model_max_length) for t in self._tokenizers.values())

    def length(self, prompt: str) -> int:
        """Tokens that a prompt needs, start and end included, where it needs most.

        Raises:
            PromptError: an unknown placeholder.
        """
        return max(len(self._split(prompt, e)[0]) + 1 for e in self._tokenizers)

    def _split(
        self, prompt: str, encoder: str
    ) -> tuple[list[int], list[tuple[int, str]]]:
        """Ids without the end token, and (first position, name) of placeholders."""
        tokenizer = self._tokenizers[encoder]
        ids: list[int] = [tokenizer.bos_token_id]
        concepts: list[tuple[int, str]] = []
        for index, piece in enumerate(_PLACEHOLDER.split(prompt)):
            if index % 2 == 0:
                words = piece.replace("\\<", "<")
                ids += tokenizer(words, add_special_tokens=False).input_ids
                continue
            if piece not in self._names:
                raise PromptError(self._unknown(piece))
            concepts.append((len(ids), piece))
            ids += [tokenizer.bos_token_id] * ROWS
        return ids, concepts

    def _unknown(self, name: str) -> str:
        if _WEIGHTED.match(name):
            return (
                f"<{name}> is another tool's syntax; leave it out: the model of "
                "--release or --concept is applied as it is"
            )
        same = sorted(n for n in self._names if n.endswith(f"/{name}"))
        if same:
            return f"<{name}> may be {' or '.join(f'<{n}>' for n in same)}; say which"
        if not self._names:
            return (
                f"<{name}>: no concept is loaded; pass its model, or write \\< for a "
                "literal <"
            )
        way = way_out(name, self._names, written="<{}>".format)
        return f"<{name}> names no concept of the model; {way}"
