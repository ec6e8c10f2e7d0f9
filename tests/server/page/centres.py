"""A centre with a past: sites, releases of real fusions, a held bundle, refusals."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.base import Base, load_base
from mos_protocol.messages import Verdict
from mos_protocol.signed.bundle import Bundle
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.fusion.gate import GateLimits
from tests.support.bases import save_tiny_sd
from tests.support.concepts import random_concept
from tests.support.sites import Centre

SETTINGS = FusionSettings(steps=1, scenes=("",), prior_subjects=("dog",))
GATE = GateLimits(generic=0.05, words=0.05, lost=5.0, concepts=5.0, seeds=1, steps=2)
HONEST, HOSTILE = 0.001, 1.0
"""Strengths of random concepts: far within the limits, and far beyond."""


@dataclass(frozen=True)
class PastCentre:
    """What has happened: three sites, one of them revoked; two releases."""

    folder: Path
    centre: Centre
    base: Base
    homes: dict[str, SiteHome]

    @staticmethod
    def begin(folder: Path) -> "PastCentre":
        """Sites north, south and east, and nothing brought yet."""
        saved = save_tiny_sd(folder / "base")
        (saved / "mos_defaults.json").write_text(
            json.dumps({"fusion": {"steps": 1, "scenes": [""]}})
        )
        base = load_base(str(saved))
        centre = Centre.at(folder / "centre", base.inventory)
        names = ("north", "south", "east")
        homes = {n: SiteHome.open(folder / n, create=True) for n in names}
        for name, home in homes.items():
            centre.enrol(home, name, now=int(time.time()) - 86_400)
        return PastCentre(folder, centre, base, homes)

    @staticmethod
    def at(folder: Path) -> "PastCentre":
        """With two releases, a held bundle, a refused one and a revoked site."""
        made, start = PastCentre.begin(folder), int(time.time()) - 3 * 3600
        rex = made.bring("north", "rex", seed=1, now=start)
        made.bring("south", "miso", seed=2, now=start + 60)
        made.publish(start + 120)
        made.bring("east", "bolt", seed=3, now=start + 3600)
        digest = made.bring(
            "south", "evil", seed=4, now=start + 3600, strength=HOSTILE
        ).digest
        made.publish(start + 3720)
        assert made.centre.registry.quarantine.named("south/evil").digest == digest
        assert not made.send("north", rex, now=start + 7200).accepted
        made.centre.registry.membership.revoke("east")
        return made

    def bring(
        self, site: str, concept: str, *, seed: int, now: int, strength: float = HONEST
    ) -> Bundle:
        """Have a concept accepted."""
        inventory = self.centre.inventory
        made = random_concept(inventory, concept, seed=seed, strength=strength)
        entry = Outbox(self.homes[site]).put(made.to_bytes(), site, now)
        bundle = Bundle.read(entry.path)
        assert self.send(site, bundle, now=now).accepted
        return bundle

    def send(self, site: str, bundle: Bundle, *, now: int) -> Verdict:
        """Have the centre judge a bundle that a site brings."""
        return self.centre.desk.receive(
            bundle.to_bytes(),
            now=now,
            sender_key_id=self.homes[site].public_keys()[0].key_id,
        )

    def publish(self, now: int) -> None:
        """Fuse what stands, by the gate."""
        release = publish(
            self.centre.home,
            self.centre.registry,
            self.base,
            now=now,
            settings=SETTINGS,
            gate=GATE,
        )
        assert release is not None
