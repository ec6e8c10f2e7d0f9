"""A byte-level BPE in CLIP's own form, whose merges make every known word one token.

Every byte is in the vocabulary, so no text is unknown.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from jaxtyping import Int
from transformers import CLIPTokenizer

from mos_runtime.files import write_atomically
from mos_zoo.world.words import known_words

CONTEXT: Final = 32
"""Tokens of a prompt, begin and end included."""

BEGIN: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
_WORD_END: Final = "</w>"


def byte_letters() -> dict[int, str]:
    """GPT-2's printable letter for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(printable))
    order = [*printable, *(b for b in range(256) if b not in printable)]
    return {byte: letters[byte] for byte in order}


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Merges, most frequent pair first, until every word is one token."""
    letters = byte_letters()
    split = {}
    for word in words:
        spelled = [letters[byte] for byte in word.encode()]
        split[word] = (*spelled[:-1], spelled[-1] + _WORD_END)
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for tokens in split.values() for pair in pairwise(tokens))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, tokens in split.items():
            if best[0] in tokens:
                split[word] = _merged(tokens, best)


def _merged(tokens: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    i = 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == pair:
            merged.append(tokens[i] + tokens[i + 1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return tuple(merged)


@cache
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token ids and merges; begin and end of text are the last two ids, as in CLIP."""
    merges = learn_merges(known_words())
    letters = list(byte_letters().values())
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    tokens += [a + b for a, b in merges]
    tokens += [BEGIN, END]
    return {token: i for i, token in enumerate(tokens)}, merges


def save_vocabulary(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt`."""
    ids, merges = vocabulary()
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges), ""]
    write_atomically(
        folder / "vocab.json", json.dumps(ids, ensure_ascii=False).encode()
    )
    write_atomically(folder / "merges.txt", "\n".join(lines).encode())


def load_tokenizer() -> Any:
    """The zoo's `CLIPTokenizer`."""
    with TemporaryDirectory() as folder:
        save_vocabulary(Path(folder))
        return CLIPTokenizer.from_pretrained(folder, model_max_length=CONTEXT)


def encode(tokenizer: Any, texts: Sequence[str]) -> Int[np.ndarray, "n 32"]:
    """Token ids, padded with the end token."""
    encoded = tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=CONTEXT
    )
    return np.array(encoded["input_ids"], np.int64)
