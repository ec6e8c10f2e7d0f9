"""What a simulation left behind, read back.

The release is checked as a site checks it, and every bundle against its site's key,
before a tensor of either is read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mos_lab.errors import SimulationError
from mos_lab.simulation.outcome import SimulationOutcome
from mos_lab.simulation.plan import CENTRE_FOLDER
from mos_model.bases.inventory import Inventory
from mos_model.concepts.concept import Concept, FusedModel
from mos_protocol.rules.at_rest import bundle_as_signed
from mos_protocol.rules.trust import ReleaseTrust
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.release import Release, ReleaseFacts
from mos_runtime.files import read_whole
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry


@dataclass(frozen=True)
class Record:
    """A federation after its release."""

    release: Release
    facts: ReleaseFacts
    model: FusedModel
    """The release's content."""

    signer: str
    """Id of the centre's key, shortened."""

    concepts: Mapping[str, Concept]
    """Site -> the concept of the bundle that the centre accepted."""

    tensors: Mapping[str, int]
    """Site -> how many tensors its manifest lists."""

    report: Mapping[str, Any]
    """The fusion's report, as JSON holds it."""

    def manifest(self) -> dict[str, Any]:
        """What the centre signed, as plain values."""
        return {"digest": self.release.digest, **asdict(self.facts)}

    def rank(self) -> int:
        """The rank of every factor pair: the sum of the concepts' ranks."""
        return next(iter(self.model.lora.values())).down.shape[0]

    def kept(self, site: str) -> dict[str, float]:
        """What fusion kept of a site's concept: "all", then stage by stage."""
        key = f"{site}/{self.concepts[site].facts.name}"
        figures = self.report["concepts"][key]
        return {"all": figures["kept"], **figures["kept_by_stage"]}


def read_record(
    folder: Path, outcome: SimulationOutcome, inventory: Inventory, *, now: int
) -> Record:
    """The record of a simulation that ended.

    Args:
        folder: The simulation's folder.
        outcome: What it returned.
        inventory: Of the base that it used.
        now: Unix time, seconds.

    Raises:
        SimulationError: a site brought no concept, or does not hold the release.
        ReleaseError: the release breaks a rule of `ReleaseTrust`.
        MosError: a file is missing, or not what was signed.
    """
    _check(outcome)
    home = CentreHome.open(folder / CENTRE_FOLDER)
    registry, centre_key = Registry(home), home.signing_key().public
    release = registry.published.read(outcome.release)
    facts = ReleaseTrust().check(
        release.to_bytes(),
        centre_key=centre_key,
        base=inventory.base,
        inventory=inventory,
        held=None,
        now=now,
    )
    concepts, tensors = {}, {}
    keys = {site.name: site.key for site in registry.membership.sites()}
    for stored in registry.bundles.current():
        content = registry.bundles.content(stored.digest)
        bundle = Bundle.from_bytes(content, max_bytes=len(content))
        tensors[stored.site] = len(bundle_as_signed(bundle, keys[stored.site]).tensors)
        concepts[stored.site] = Concept.from_bytes(bundle.payload)
    return Record(
        release=release,
        facts=facts,
        model=FusedModel.from_bytes(release.payload),
        signer=centre_key.short,
        concepts=concepts,
        tensors=tensors,
        report=_report(folder / outcome.release_file),
    )


def _check(outcome: SimulationOutcome) -> None:
    for site in outcome.sites:
        if not site.accepted:
            raise SimulationError(f"site {site.site} brought no concept: {site.reason}")
        if site.release != outcome.release:
            raise SimulationError(
                f"site {site.site} holds release {site.release}, not {outcome.release}"
            )


def _report(release_file: Path) -> dict[str, Any]:
    """The fusion's report, which is next to the release."""
    path = release_file.with_suffix(".report.json")
    report: dict[str, Any] = json.loads(read_whole(path, what="a fusion report"))
    return report
