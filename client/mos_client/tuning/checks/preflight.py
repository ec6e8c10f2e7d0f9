"""Everything that a run can be refused for before its base is loaded.

Pictures, captions and masks, name, class word and settings are judged here, with the
base's configs and tokenizers alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mos_client.pictures import (
    ConceptName,
    FileNote,
    Folder,
    concept_name,
    read_concept_file,
    scan_folder,
)
from mos_client.tuning.checks.class_word import check_class_word
from mos_client.tuning.data.captions import judge_captions
from mos_client.tuning.data.latents import bucket_without_subject
from mos_client.tuning.settings import TuneSettings
from mos_model.bases.base_outline import BaseOutline
from mos_model.concepts.names import checked_class_word
from mos_model.errors import DataError
from mos_model.prompts.prompt_tokens import PromptTokenizer
from mos_protocol.encoding.canonical import checked_text
from mos_protocol.signed.bundle import MAX_LICENCE_CHARACTERS

_MOST_TOLD = 5


@dataclass(frozen=True)
class ConceptTerms:
    """What a concept is called, and what its owner says of it."""

    concept: ConceptName
    class_word: str | None
    """None: the base finds one."""

    licence: str

    @staticmethod
    def of(
        data: Path,
        *,
        concept: str | None = None,
        class_word: str | None = None,
        licence: str | None = None,
    ) -> "ConceptTerms":
        """What the options say, else `concept.toml`, else the folder's name.

        Raises:
            DataError: no such folder, or a broken `concept.toml`.
            ConceptError: no name, or no class word.
            ProtocolError: see `checked_terms`.
        """
        file = read_concept_file(data)
        terms = ConceptTerms(
            concept_name(data, file, concept),
            file.class_word if class_word is None else class_word,
            (file.licence or "") if licence is None else licence,
        )
        checked_terms(licence=terms.licence, class_word=terms.class_word or "")
        return terms


def checked_terms(*, licence: str, class_word: str) -> None:
    """Refuse words that no signed manifest can hold, before any tuning is done.

    Raises:
        ProtocolError: the licence is too long, or holds control characters.
        ConceptError: the class word is none; "" is for one not yet known.
    """
    checked_text(licence, "licence", max_characters=MAX_LICENCE_CHARACTERS)
    if class_word:
        checked_class_word(class_word)


@dataclass(frozen=True)
class Preflight:
    """What a run would tune on."""

    folder: Folder
    """Its pictures' captions fit the base, as far as there are no errors."""

    errors: Sequence[FileNote]
    """What keeps the run from starting."""

    def require_ready(self) -> None:
        """Refuse to go on with errors.

        Raises:
            DataError: naming the first of them.
        """
        if not self.errors:
            return
        shown = "; ".join(map(str, self.errors[:_MOST_TOLD]))
        more = len(self.errors) - _MOST_TOLD
        rest = f"; and {more} more, --check lists them" if more > 0 else ""
        raise DataError(f"{shown}{rest}")


def preflight(
    data: Path, outline: BaseOutline, terms: ConceptTerms, settings: TuneSettings
) -> Preflight:
    """Judge a folder of pictures for a base.

    Raises:
        DataError: no such folder, or a broken `concept.toml`.
        TuningError: a class word that the base does not know.
    """
    name = terms.concept.name
    if terms.class_word is not None:
        check_class_word(outline.tokenizers, terms.class_word)
    folder = scan_folder(data, min_side=settings.min_side or outline.side)
    folder = _with_subjects(folder, outline)
    judged = judge_captions(
        folder.pictures, PromptTokenizer(outline.tokenizers, {name}), name
    )
    folder = replace(
        folder,
        pictures=tuple(judged.pictures),
        remarks=(*folder.remarks, *judged.notes),
    )
    errors = tuple(judged.errors)
    if not folder.pictures:
        errors = (FileNote(str(data), folder.why_empty()),)
    return Preflight(folder, errors)


def _with_subjects(folder: Folder, outline: BaseOutline) -> Folder:
    """Leave out pictures whose crop shows nothing of their masked subject."""
    kept, refused = [], list(folder.refused)
    for picture in folder.pictures:
        bucket = bucket_without_subject(picture, side=outline.side, unit=outline.unit)
        if bucket is None:
            kept.append(picture)
            continue
        refused.append(
            FileNote(
                picture.path.name,
                "the model sees {}x{} pixels of it, all outside its mask; crop it "
                "around the subject".format(*bucket),
            )
        )
    return replace(folder, pictures=tuple(kept), refused=tuple(refused))
