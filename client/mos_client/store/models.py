"""The model that a site samples from: a release, or concepts added up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mos_model.errors import LayoutError

if TYPE_CHECKING:
    from mos_model.concepts.concept import FusedModel


@dataclass(frozen=True)
class OpenedModel:
    """A model, and what a picture's record calls it."""

    fused: "FusedModel | None"
    """None is the bare base."""

    origin: Mapping[str, Any]
    """{"sha256": [of each file's content]}, and of a release received besides
    {"release": its digest, "version": its number}; nothing for the bare base."""

    warnings: tuple[str, ...] = ()
    """What speaks against using it, a sentence each."""

    def check_made(self, origin: Mapping[str, Any], picture: Path) -> None:
        """Refuse to make a picture again that another model made.

        Raises:
            LayoutError: naming the model that made it.
        """
        if origin.get("sha256") == self.origin.get("sha256"):
            return
        made = "the bare base"
        if "version" in origin:
            made = f"release {origin['version']} ({origin['release'][:12]})"
        elif "sha256" in origin:
            made = "files " + ", ".join(digest[:12] for digest in origin["sha256"])
        raise LayoutError(
            f"{picture}: made with {made}; pass that with --release or --concept"
        )


def open_model(
    release: str | None, concepts: Sequence[Path], home: Path | None
) -> OpenedModel:
    """Open what `--release` and `--concept` name.

    Args:
        release: The number of a release received, "newest", or a file. One of the
            site's own is verified once more.
        concepts: Files of concepts, to be added up.
        home: Where the site's releases are.

    Raises:
        MosError: both are given, or one is missing, malformed or not as signed.
    """
    from mos_model.concepts.model_files import concepts_of, model_bytes, release_of
    from mos_model.errors import ConceptError

    if release is not None and concepts:
        raise LayoutError("--release and --concept: give one of them, not both")
    if release is not None:
        path, content, origin, warnings = _release(release, home)
        return OpenedModel(release_of(path, content), origin, warnings)
    if not concepts:
        return OpenedModel(None, {})
    contents = [(path, model_bytes(path)) for path in concepts]
    try:
        model = concepts_of(contents)
        return OpenedModel(model, _digests([content for _, content in contents]))
    except ConceptError as error:
        raise ConceptError(f"--concept: {error}") from error


def _release(
    release: str, home: Path | None
) -> tuple[Path, bytes, Mapping[str, Any], tuple[str, ...]]:
    """File, content, origin, and what speaks against using it."""
    from mos_model.concepts.model_files import model_bytes

    if release != "newest" and not release.isdigit():
        content = model_bytes(Path(release))
        return Path(release), content, _digests([content]), ()
    from mos_client.store.home import SiteHome
    from mos_client.store.releases import ReleaseStore

    store = ReleaseStore(SiteHome.open(home))
    path, (signed, warnings) = store.path(release), store.usable(release)
    origin = {"release": signed.digest, "version": int(path.stem)}
    origin |= _digests([signed.payload])
    return path, signed.payload, origin, warnings


def _digests(contents: Sequence[bytes]) -> Mapping[str, Any]:
    import hashlib

    return {"sha256": [hashlib.sha256(content).hexdigest() for content in contents]}
