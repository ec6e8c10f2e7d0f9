"""The model card of a published folder: README.md as model hubs read it.

Its head is YAML as Hugging Face defines it (`huggingface_hub.ModelCardData`), so that
a hub shows base, licence, trigger and pictures; its text says how to use the files,
what they lose in other tools, what was measured, and how to verify who made them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huggingface_hub import ModelCardData

from mos_model.interop.exporting import word_file

_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_LICENCE_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
_TAGS: Final = ("text-to-image", "diffusers", "lora", "template:sd-lora", "mix-of-show")


@dataclass(frozen=True)
class CardConcept:
    """One concept of the card's table."""

    word: str
    """As prompts name it: `<rex>`."""

    class_word: str
    site: str
    """"" of a concept that is not part of a release."""


@dataclass(frozen=True)
class CardPicture:
    """A sample picture of the card."""

    path: str
    """Within the folder."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Card:
    """What a model card says."""

    title: str
    base: str
    """Name of the base, as the user gave it."""

    fingerprint: str
    """Of the base (see `Inventory.base`)."""

    model_file: str
    """The model in this project's own format."""

    release: bool
    """Whether it is a release, not a concept."""

    sha256: str
    """Of that file."""

    signer: str
    """Id of the key that signed it, as its signature says; "" where unsigned."""

    licence: str
    concepts: Sequence[CardConcept]
    pictures: Sequence[CardPicture]
    figures: Sequence[tuple[str, str]]
    """Name and value."""

    two_encoders: bool
    """Whether the base has two text encoders, as SDXL."""

    averaged: bool
    """Whether other tools get the mean over layers of the words."""

    def markdown(self) -> str:
        """README.md."""
        parts = [
            f"---\n{self._head()}\n---",
            f"# {self.title}",
            self._summary(),
            *(["<Gallery />"] if self.pictures else []),
            self._concepts(),
            self._use(),
            self._figures(),
            self._origin(),
        ]
        return "\n\n".join(parts) + "\n"

    def _head(self) -> str:
        licence = self.licence.lower() if self.licence else None
        known = licence is None or _LICENCE_ID.fullmatch(licence)
        named: dict[str, Any] = {} if known else {"license_name": self.licence}
        data = ModelCardData(
            license=licence if known else "other",
            base_model=self.base if _is_hub_name(self.base) else None,
            library_name="diffusers",
            pipeline_tag="text-to-image",
            tags=list(_TAGS),
            instance_prompt=", ".join(each.word for each in self.concepts) or None,
            widget=[
                {"text": each.prompt, "output": {"url": each.path}}
                for each in self.pictures
            ]
            or None,
            **named,
        )
        return str(data.to_yaml())

    def _summary(self) -> str:
        fused = f"A release of {len(self.concepts)} concepts"
        what = fused if self.release else "One concept"
        return (
            f"{what}: ED-LoRA of [Mix-of-Show](https://arxiv.org/abs/2305.18292) for "
            f"the base `{self.base}`."
        )

    def _concepts(self) -> str:
        rows = [f"| `{c.word}` | {c.class_word} | {c.site} |" for c in self.concepts]
        return "\n".join(["| trigger | class | site |", "|---|---|---|", *rows])

    def _use(self) -> str:
        first = self.concepts[0].word if self.concepts else "<NAME>"
        option = "--release" if self.release else "--concept"
        lost = (
            "\n\nOther tools get the mean over layers of every word, and draw the "
            "concepts less exactly; this project's own file holds all layers."
            if self.averaged
            else ""
        )
        words = [each.word for each in self.concepts]
        load = _loading(words, two_encoders=self.two_encoders)
        return (
            "## Use\n\n```sh\n"
            f"mos-client sample {option} {self.model_file} --base {self.base} "
            f'--prompt "a photo of {first}" --out picture.png\n```\n\n'
            f"With diffusers:\n\n```python\n{load}```{lost}"
        )

    def _figures(self) -> str:
        rows = [f"| {name} | {value} |" for name, value in self.figures]
        table = "\n".join(["| figure | value |", "|---|---|", *rows])
        return f"## Figures\n\n{table}"

    def _origin(self) -> str:
        signed = (
            f"`{self.model_file}.sig` says that key `{self.signer[:12]}` signed it; "
            f"check it with `mos-client verify {self.model_file}`."
            if self.signer
            else "It is not signed."
        )
        return (
            "## Origin\n\n"
            f"`{self.model_file}`: SHA-256 `{self.sha256}`, for the base with "
            f"fingerprint `{self.fingerprint}`. {signed}\n\n"
            f"Licence: {self.licence or 'not stated'}."
        )


def _loading(words: Sequence[str], *, two_encoders: bool) -> str:
    """Python that loads a folder into a diffusers pipeline."""
    lines = ['folder = "path/to/this/folder"', "pipeline.load_lora_weights(folder)"]
    if two_encoders:
        lines.insert(0, "from safetensors.torch import load_file\n")
    for word in words:
        file = f'f"{{folder}}/embeddings/{word_file(word.strip("<>"))}"'
        if not two_encoders:
            lines.append(f"pipeline.load_textual_inversion({file})")
            continue
        lines.append(f"words = load_file({file})")
        for name, part in (("clip_l", ""), ("clip_g", "_2")):
            lines.append(
                f'pipeline.load_textual_inversion(words["{name}"], token="{word}", '
                f"text_encoder=pipeline.text_encoder{part}, "
                f"tokenizer=pipeline.tokenizer{part})"
            )
    if words:
        lines.append(f'picture = pipeline("a photo of {words[0]}").images[0]')
    return "".join(f"{line}\n" for line in lines)


def _is_hub_name(base: str) -> bool:
    return bool(_HUB_NAME.fullmatch(base)) and not Path(base).exists()
