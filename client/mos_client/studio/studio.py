"""The Python API of a site: what commands and page do, callable from a notebook.

    from mos_client import Studio

    studio = Studio("site", create=True)
    studio.tune("pictures/rex").memorisation.sentence()
    studio.sample("a photo of <rex>", model="own", images=4).pictures[0]
    studio.share("rex")
    studio.releases()

The page runs on this class; under it and the commands lie the same functions,
`mos_client.tuning.run` and `mos_client.sampling`. The base is loaded once, when it is
first needed, and kept.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from mos_client.store.home import SiteHome
from mos_client.studio.concepts import (
    ConceptCard,
    VerifiedRelease,
    concepts_of,
    own_concepts,
    verified_releases,
)
from mos_client.studio.files import StudioFiles
from mos_client.studio.order import BARE, OWN, Order
from mos_client.studio.project import Project
from mos_client.studio.sharing import share
from mos_client.tuning.checks.checked_run import CheckedRun
from mos_client.tuning.checks.preflight import ConceptTerms
from mos_client.tuning.run import (
    SILENT,
    TuneCallbacks,
    Tuned,
    TuneRequest,
    checked,
    tuned,
)

if TYPE_CHECKING:
    from mos_client.sampling import Sampled
    from mos_client.sampling.run import Callback
    from mos_model.bases.base import Base
    from mos_model.bases.base_outline import BaseOutline
    from mos_model.layouts.layout import Layout
    from mos_model.sampling import RegionalPipeline

_PREVIEW_SHARE: Final = 0.1


class Studio:
    """One site's concepts, and pictures of them; threads may share it."""

    def __init__(
        self,
        home: Path | str | None = None,
        *,
        base: str = "mini",
        device: str = "auto",
        precision: str = "auto",
        create: bool = False,
    ) -> None:
        """Open a site's home; nothing is loaded yet.

        Args:
            home: The site's folder; None is the default one.
            base: Name, pipeline directory or hub name of the base.
            device: auto, cpu, cuda, cuda:1 or mps.
            precision: auto, float32, bfloat16 or float16.
            create: Make the home, with its keys, where there is none.

        Raises:
            IdentityError: no site has its home there, and none is to be made.
        """
        folder = None if home is None else Path(home)
        self.home = SiteHome.open(folder, create=create)
        self.files = StudioFiles(self.home.studio)
        self._name, self._device, self._precision = base, device, precision
        self._base: Base | None = None
        self._outline: BaseOutline | None = None
        self._using = threading.RLock()

    @property
    def outline(self) -> "BaseOutline":
        """The base without its weights.

        Raises:
            BaseError: it is missing or incomplete.
        """
        if self._outline is None:
            from mos_model.bases.base_outline import read_outline

            self._outline = read_outline(self._name)
        return self._outline

    def load(self) -> "Base":
        """The base, loaded at the first call.

        Raises:
            MosError: it is missing, or the device is.
        """
        from mos_model.bases.base import load_base
        from mos_model.devices import pick_device, pick_dtype

        with self._using:
            if self._base is None:
                device = pick_device(self._device)
                dtype = pick_dtype(self._precision, device)
                self._base = load_base(self._name, device=device, dtype=dtype)
            return self._base

    def releases(self) -> list[VerifiedRelease]:
        """The releases held, the newest first; each is verified as it is read."""
        return verified_releases(self.home)

    def concepts(self, model: str = "newest") -> list[ConceptCard]:
        """The concepts of a release, or one's own (`model="own"`)."""
        base = self.outline.inventory.base
        return concepts_of(model, self.home, self.files.concepts, base)

    def sample(
        self,
        prompt: "str | Layout",
        *,
        model: str = "newest",
        seed: int = 0,
        images: int = 1,
        settings: Mapping[str, Any] | None = None,
        out: Path | None = None,
        preview_every: int | None = None,
        callback: "Callback" = lambda _: None,
    ) -> "Sampled":
        """Sample pictures.

        Args:
            prompt: A prompt, or a layout.
            model: A held release's number, "newest", "own" or "" (the bare base).
            seed: Of the first picture, the next ones counting up; -1 is a random one.
            images: How many.
            settings: Steps, guidance and so on; see `SamplingSettings`.
            out: PNG file to write, -2, -3 .. for more; None writes nothing.
            preview_every: Steps between previews in `callback`'s argument, at least;
                they take a tenth of the time of sampling at most.
            callback: See `mos_client.sampling.sample`; what it raises ends the run.

        Raises:
            MosError: the pictures cannot be drawn or written.
        """
        from mos_client.sampling import SampleRequest
        from mos_client.sampling import sample as run
        from mos_model.sampling.settings import Given

        text = isinstance(prompt, str)
        release, concepts = self._sources(model)
        request = SampleRequest(
            prompts=(cast(str, prompt),) if text else (),
            layout=None if text else cast("Layout", prompt),
            release=release,
            concepts=concepts,
            base=self._name,
            seed=seed,
            images=images,
            settings=cast(Given, dict(settings or {})),
            out=out,
            preview_every=preview_every,
            preview_share=_PREVIEW_SHARE,
            device=self._device,
            precision=self._precision,
            home=self.home.folder,
        )
        with self._using:
            return run(request, callback, base=self.load())

    def draw(
        self, order: Order, out: Path, callback: "Callback" = lambda _: None
    ) -> "Sampled":
        """Sample what the page ordered.

        Raises:
            MosError: see `sample`; or the order's layout is none.
        """
        return self.sample(
            self.files.layout(order.layout, self.outline.size),
            model=order.model,
            seed=order.seed,
            images=order.images,
            settings=order.settings,
            out=out,
            preview_every=order.preview_every,
            callback=callback,
        )

    def check(self, request: TuneRequest) -> CheckedRun:
        """Judge a tuning run, as `mos-client tune --check` does.

        Raises:
            MosError: see `mos_client.tuning.run.checked`.
        """
        return checked(request, self.outline)

    def tune(
        self,
        pictures: TuneRequest | Path | str,
        *,
        name: str | None = None,
        class_word: str | None = None,
        licence: str | None = None,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        callbacks: TuneCallbacks = SILENT,
    ) -> Tuned:
        """Tune a concept; nothing of it leaves this machine.

        The concept joins one's own: `sample(.., model="own")` and the page know it.

        Args:
            pictures: A folder, as `mos-client tune --data` takes it; or a whole
                request, which the next five then are part of.
            name: The concept's; None is the folder's, or what `concept.toml` says.
            class_word: Ordinary word for the subject; None has the base find one.
            licence: Terms of use, recorded in the concept.
            settings: Steps, rank, seed and so on, of `TuneSettings`; else the base's.
            resume: Continue a stopped run.
            callbacks: What is told meanwhile.

        Returns:
            The concept, with samples of it and how they compare with the pictures.

        Raises:
            MosError: it cannot start, or failed; see `mos_client.tuning.run.tuned`.
            StopTuning: a callback stopped it; its checkpoint is kept.
        """
        if isinstance(pictures, TuneRequest):
            request = pictures
        else:
            terms = ConceptTerms.of(Path(pictures), concept=name)
            own = self.project(terms.concept.name)
            request = TuneRequest(
                Path(pictures),
                own.concept,
                own.work_dir,
                name=name,
                class_word=class_word,
                licence=licence,
                settings=settings or {},
                resume=resume,
            )
        with self._using:
            run = self.check(request)
            return tuned(run, request, self.load(), callbacks)

    def share(self, name: str) -> Mapping[str, Any]:
        """Sign a concept tuned here into the outbox; `mos-client join` sends it.

        Returns:
            Its `bytes`, its `digest` (SHA-256 of the manifest) and its `file`.

        Raises:
            MosError: it is not tuned yet, or cannot be signed.
        """
        return share(self.project(name), self.home)

    def pipeline(self, model: str = "newest") -> "RegionalPipeline":
        """A diffusers-like pipeline on this base, with a model in it.

        Args:
            model: As `sample`'s; a release is verified once more.

        Raises:
            MosError: the model is not held, not as it was signed, or of another base.
        """
        from mos_client.store.models import open_model
        from mos_model.sampling import RegionalPipeline

        opened = open_model(*self._sources(model), self.home.folder)
        return RegionalPipeline(self.load(), opened.fused)

    def project(self, name: str) -> Project:
        """The pictures of a concept that is tuned here, by its name.

        Raises:
            DataError: it is no name.
        """
        return Project.named(name, self.files.tuning, self.files.concepts)

    def _sources(self, model: str) -> tuple[str | None, tuple[Path, ...]]:
        """Release and concept files of a model."""
        if model not in (OWN, BARE):
            return model, ()
        if model == BARE:
            return None, ()
        base = self.outline.inventory.base
        found = own_concepts(self.home, self.files.concepts, base)
        return None, tuple(path for path, _ in found)
