"""A centre and its sites on one disk, without Flower between them."""

import time
from dataclasses import dataclass
from pathlib import Path

from mos_client.store.enrolment import make_request
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_model.bases.inventory import Inventory
from mos_protocol.signed.bundle import Bundle
from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
from mos_server.federation.desk import Desk
from mos_server.registry.home import CentreHome
from mos_server.registry.registry import Registry
from tests.support.concepts import random_concept

NOW = 1_800_000_000


def small_inventory(base: str = "5a" * 32, *, width: int = 6) -> Inventory:
    """The names and shapes of a base that is no more than that.

    A concept of it has some 200 bytes times `width`, and headers.
    """
    unet = {
        "down_blocks.0.attn2.to_k.weight": (8, width),
        "down_blocks.0.attn2.to_v.weight": (8, width),
        "up_blocks.0.attn2.to_k.weight": (4, width),
    }
    text = {
        "encoder.layers.0.self_attn.q_proj.weight": (width, width),
        "embeddings.token_embedding.weight": (50, width),
    }
    return Inventory.from_tensor_shapes(base, {"unet": unet, "text_encoder": text})


@dataclass(frozen=True)
class Centre:
    """A centre with its desk."""

    home: CentreHome
    registry: Registry
    desk: Desk
    inventory: Inventory

    @staticmethod
    def at(folder: Path, inventory: Inventory | None = None) -> "Centre":
        """A new centre, or the one that is there."""
        home = CentreHome.open(folder, create=True)
        registry = Registry(home)
        inventory = inventory or small_inventory()
        return Centre(home, registry, Desk(registry, inventory), inventory)

    def enrol(self, home: SiteHome, name: str) -> Welcome:
        """Let a site in by the two files, as people would hand them over."""
        request = EnrolmentRequest.verified(make_request(home, name, now=NOW))
        self.registry.membership.admit(
            request.site, request.site_key, request.node_key, now=NOW
        )
        welcome = Welcome(
            address="127.0.0.1:9092",
            ca_certificate=b"",
            centre_key=self.home.signing_key().public,
            site=request.site,
            base=self.inventory.base,
        )
        home.welcome_path.write_bytes(welcome.to_bytes())
        return welcome


def not_now() -> str:
    """Hours, as a policy writes them, that this hour is not among."""
    first = (time.localtime().tm_hour + 2) % 24
    return f"{first}-{first + 1}"


def signed(
    home: SiteHome,
    inventory: Inventory,
    concept: str = "rex",
    *,
    site: str = "north",
    seed: int = 0,
    now: int = NOW,
) -> Bundle:
    """A bundle of random numbers that fits the base, signed into a site's outbox."""
    content = random_concept(inventory, concept, seed=seed).to_bytes()
    entry = Outbox(home).put(content, site, now)
    return Bundle.read(entry.path)
