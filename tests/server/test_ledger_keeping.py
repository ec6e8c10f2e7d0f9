"""The centre's ledger follows its registry, and is mended where it is damaged."""

from pathlib import Path

import pytest

from mos_client.store.home import SiteHome
from mos_model.bases.base import Base, load_base
from mos_server.federation.ledger_keeping import fuse_standing
from mos_server.fusion import FusionSettings
from mos_server.fusion.gradient_fusion import capture
from tests.support.bases import save_tiny_sd
from tests.support.sites import NOW, Centre, signed

QUICK = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return load_base(str(save_tiny_sd(tmp_path_factory.mktemp("base"))))


@pytest.fixture
def centre(tmp_path: Path, base: Base) -> Centre:
    return Centre.at(tmp_path / "centre", base.inventory)


@pytest.fixture
def site(tmp_path: Path, centre: Centre) -> SiteHome:
    home = SiteHome.open(tmp_path / "north", create=True)
    centre.enrol(home, "north")
    return home


class Captures:
    """Counts what is captured: "" for the prior, else the concept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        real = capture

        def counted(base, lora, words, *args, **more):  # type: ignore[no-untyped-def]
            self.made.append(next(iter(words), ""))
            return real(base, lora, words, *args, **more)

        monkeypatch.setattr("mos_server.fusion.ledger.ledger.capture", counted)

    def since(self) -> list[str]:
        made, self.made = self.made, []
        return made


def bring(centre: Centre, site: SiteHome, concept: str, seed: int) -> None:
    bundle = signed(site, centre.inventory, concept, site="north", seed=seed)
    assert centre.desk.receive(bundle.to_bytes(), now=NOW).accepted


def test_only_what_is_new_is_captured_and_damage_is_mended(
    centre: Centre, site: SiteHome, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures, told = Captures(monkeypatch), set[str]()
    folder = centre.home.ledger

    def fused(settings: FusionSettings = QUICK) -> bytes:
        told.clear()
        return fuse_standing(
            folder,
            centre.registry,
            base,
            centre.registry.bundles.current(),
            settings=settings,
            on_progress=lambda what, _: told.add(what),
        ).model.to_bytes()

    bring(centre, site, "rex", 1)
    first = fused()
    assert captures.since() == ["", "rex"]
    bring(centre, site, "miso", 2)
    both = fused()
    assert captures.since() == ["miso"]
    centre.registry.bundles.withdraw("north", "miso")
    assert fused() == first
    assert captures.since() == []

    bring(centre, site, "miso", 2)
    assert fused() == both
    captures.since()
    for blob in (folder / "blobs").iterdir():
        blob.write_bytes(b"")
    assert fused() == both
    assert sorted(captures.since()) == ["", "miso", "rex"]
    assert sum("the ledger is made anew" in what for what in told) == 1

    other = FusionSettings(steps=1, scenes=("",), prior_subjects=("cat",))
    assert fused(other) != both
    assert sum("made with another prior_subjects" in what for what in told) == 1
    captures.since()
    fused(other)
    assert captures.since() == []
