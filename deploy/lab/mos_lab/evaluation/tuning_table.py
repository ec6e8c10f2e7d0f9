"""What tuning gave each concept, before any fusion.

The paper says that ED-LoRA keeps an individual's looks in its words, plain LoRA in its
weights; so each concept is drawn whole, and by its words alone (strength 0), and the
same of a plain LoRA that was tuned on the same pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mos_lab.evaluation.fusion_table import Bench
from mos_lab.evaluation.measuring import alignments, texts_of
from mos_lab.evaluation.methods import words_alone
from mos_lab.evaluation.subjects import Reference, Subject
from mos_model.metrics import text_alignment

PLAIN: Final = "plain-"
"""What findings about plain LoRAs begin with."""


@dataclass(frozen=True)
class PlainRow:
    """The same individual by plain LoRA."""

    image: float
    """Image alignment of its samples."""

    words: float
    """The same with its token alone, without its LoRA."""

    text: float
    """Text alignment of its samples."""


@dataclass(frozen=True)
class TuningRow:
    """One concept."""

    name: str
    class_word: str
    mutual: float
    """Mean cosine of different training pictures."""

    image: float
    """Image alignment of the concept's samples."""

    words: float
    """The same with its words alone, without its LoRA."""

    text: float
    """Text alignment of the concept's samples."""

    base_text: float
    """Text alignment of the base's own samples of the class word."""

    plain: PlainRow | None = None
    """What plain LoRA gives on the same pictures; None where none was tuned."""

    @property
    def of_mutual(self) -> float:
        """Image alignment as a share of the pictures' own likeness."""
        return self.image / self.mutual


def tuning_rows(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
    plain: Mapping[str, PlainRow],
) -> list[TuningRow]:
    """One row a concept, in the given order; `plain` by the concepts' names."""
    rows = []
    for subject, known in zip(subjects, references, strict=True):
        values = _words_alone(bench, subject, known, kind="")
        own = single[subject.name]
        rows.append(
            TuningRow(
                subject.name,
                subject.class_word,
                known.mutual,
                own["image"],
                values["words"],
                own["text"],
                values["base_text"],
                plain.get(subject.name),
            )
        )
    return rows


def plain_rows(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
) -> dict[str, PlainRow]:
    """What plain LoRAs give, by the concepts' names.

    Args:
        bench: Measures.
        subjects: Plain LoRAs.
        references: Of their pictures.
        single: Their alignments, see `fusion_table.single_alignments`.
    """
    rows = {}
    for subject, known in zip(subjects, references, strict=True):
        words = _words_alone(bench, subject, known, kind=PLAIN)["words"]
        own = single[subject.name]
        rows[subject.name] = PlainRow(own["image"], words, own["text"])
    return rows


def _words_alone(
    bench: Bench, subject: Subject, known: Reference, *, kind: str
) -> dict[str, Any]:
    name = f"{kind}words-{subject.name}"

    def find() -> dict[str, float]:
        own, shown = alignments(
            bench.base,
            words_alone(subject),
            [subject],
            [known],
            bench.metrics,
            bench.plan,
            bench.on_picture,
        )
        bench.on_pictures(name, shown)
        pictures = bench.base_pictures([subject.class_word])
        texts = texts_of(subject.class_word, bench.plan)
        base_text = text_alignment(
            bench.metrics.of_images(pictures), bench.metrics.of_texts(texts)
        )
        return {"words": own[subject.name].image, "base_text": base_text}

    return bench.cache.get(name, [subject.digest], find)
