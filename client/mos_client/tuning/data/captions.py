"""Captions as prompts, judged by a base's tokenizers before anything is loaded.

A caption that names another placeholder is an error: tuning would break off, or learn
the letters. One that is too long is cut at a word, with a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mos_client.pictures import CONCEPT_FILE, FileNote, Picture
from mos_client.tuning.settings import TEMPLATES
from mos_model.prompts.prompt_tokens import PromptTokenizer, placeholders


@dataclass(frozen=True)
class JudgedCaptions:
    """Pictures whose captions fit the base, as far as there are no errors."""

    pictures: Sequence[Picture]
    notes: Sequence[FileNote]
    errors: Sequence[FileNote]


def prompts_of(picture: Picture, name: str) -> tuple[str, ...]:
    """A picture's captions, one of which every step takes; each has the placeholder.

    Args:
        picture: The picture.
        name: The concept's; `<name>` stands where a caption says {}, else in front.
    """
    own = [picture.caption] if picture.caption else picture.defaults or TEMPLATES
    return tuple(_prompt(text, name) for text in own)


def judge_captions(
    pictures: Sequence[Picture], tokenizers: PromptTokenizer, name: str
) -> JudgedCaptions:
    """Find captions that the base cannot read; cut those that are too long.

    Args:
        pictures: With captions as their files hold them.
        tokenizers: The base's, with the concept's name.
        name: The concept's.
    """
    judge = _Judge(tokenizers, name)
    judged = [
        replace(
            picture,
            caption=picture.caption
            and judge.fitting(picture.caption, picture.caption_file or ""),
            defaults=tuple(judge.fitting(t, CONCEPT_FILE) for t in picture.defaults),
        )
        for picture in pictures
    ]
    return JudgedCaptions(judged, judge.notes, judge.errors)


class _Judge:
    """Judges captions one by one, equal ones of a file once."""

    def __init__(self, tokenizers: PromptTokenizer, name: str) -> None:
        self._tokenizers, self._name = tokenizers, name
        self._known: dict[tuple[str, str], str] = {}
        self.notes: list[FileNote] = []
        self.errors: list[FileNote] = []

    def fitting(self, text: str, file: str) -> str:
        """The caption as far as the base reads it."""
        key = file, text
        if key not in self._known:
            self._known[key] = self._judged(text, file)
        return self._known[key]

    def _judged(self, text: str, file: str) -> str:
        foreign = [n for n in placeholders(text) if n != self._name]
        if foreign:
            listed = ", ".join(f"<{n}>" for n in dict.fromkeys(foreign))
            way = (
                f"{listed}: this concept is <{self._name}>, or {{}}; write that, "
                "take the rest out, or write \\< for a literal <"
            )
            self.errors.append(FileNote(file, way))
            return text
        needed, limit = self._length(text), self._tokenizers.limit
        if needed <= limit:
            return text
        cut = self._cut(text)
        self.notes.append(
            FileNote(
                file,
                f"{needed} tokens, the base reads {limit}; cut after {cut[-24:]!r}",
            )
        )
        return cut

    def _cut(self, text: str) -> str:
        """The most words, or characters of a single word, that fit."""
        blank = " " if " " in text else ""
        parts = text.split() if blank else list(text)
        # Every part is a token or more.
        kept = parts[: self._tokenizers.limit]
        while kept and self._length(blank.join(kept)) > self._tokenizers.limit:
            kept.pop()
        return blank.join(kept)

    def _length(self, text: str) -> int:
        return self._tokenizers.length(_prompt(text, self._name))


def _prompt(text: str, name: str) -> str:
    prompt = text.replace("{}", f"<{name}>")
    return prompt if name in placeholders(prompt) else f"<{name}>, {prompt}"
