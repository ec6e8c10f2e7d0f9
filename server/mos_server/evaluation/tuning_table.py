"""What tuning gave each concept, before any fusion.

The paper says that ED-LoRA keeps an individual's looks in its words, plain LoRA in its
weights; so each concept is drawn whole, and by its words alone (strength 0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mos_server.evaluation.fusion_table import Bench
from mos_server.evaluation.measuring import alignments, draw, texts_of
from mos_server.evaluation.methods import words_alone
from mos_server.evaluation.subjects import Reference, Subject
from mos_shared.metrics import text_alignment
from mos_shared.sampling import sampling


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

    @property
    def of_mutual(self) -> float:
        """Image alignment as a share of the pictures' own likeness."""
        return self.image / self.mutual


def tuning_rows(
    bench: Bench,
    subjects: Sequence[Subject],
    references: Sequence[Reference],
    single: Mapping[str, Mapping[str, float]],
) -> list[TuningRow]:
    """One row a concept, in the given order."""
    rows = []
    for subject, known in zip(subjects, references, strict=True):

        def find(
            subject: Subject = subject, known: Reference = known
        ) -> dict[str, Any]:
            return _find(bench, subject, known)

        told = bench.cells.get(f"words-{subject.name}", [subject.digest], find)
        own = single[subject.name]
        rows.append(
            TuningRow(
                subject.name,
                subject.class_word,
                known.mutual,
                own["image"],
                told["words"],
                own["text"],
                told["base_text"],
            )
        )
    return rows


def _find(bench: Bench, subject: Subject, known: Reference) -> dict[str, float]:
    own, shown = alignments(
        bench.base,
        words_alone(subject),
        [subject],
        [known],
        bench.metrics,
        bench.plan,
        bench.on_picture,
    )
    bench.on_pictures(f"words-{subject.name}", shown)
    with sampling(bench.base) as sampler:
        word = f"a {subject.class_word}"
        pictures = draw(sampler, word, bench.plan, bench.on_picture)
    texts = texts_of(subject.class_word, bench.plan)
    base_text = text_alignment(
        bench.metrics.of_images(pictures), bench.metrics.of_texts(texts)
    )
    return {"words": own[subject.name].image, "base_text": base_text}
