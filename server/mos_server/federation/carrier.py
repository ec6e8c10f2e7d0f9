"""What the centre knows of its sites while it talks to them, and how it talks.

Flower-free: `Carrier` is all that the conversation needs of a network, `Fuser` all that
it needs of the fusion. A node is a site's connection; sites are known by key, nodes by
an id that changes at every restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mos_protocol.messages import Offer, TuneAsk, Verdict


@dataclass(frozen=True)
class Reply:
    """What came back for one message."""

    message_id: str
    envelope: bytes = b""
    """Of the site's answer, not verified."""

    blob: bytes | None = None
    error: str = ""
    """Set where the site could not answer; nothing else is then. It is not signed."""

    @property
    def size(self) -> int:
        """Bytes of the envelope and the blob."""
        return len(self.envelope) + len(self.blob or b"")


@runtime_checkable
class Carrier(Protocol):
    """Carries messages to nodes; never waits for one."""

    @property
    def run(self) -> int:
        """Flower's id of the run that the messages belong to."""

    def nodes(self) -> Mapping[int, bytes]:
        """The nodes that are connected, each with its public key (PEM)."""

    def send(
        self,
        node: int,
        action: str,
        envelope: bytes,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> str:
        """Send one message; its id, or "" where it could not be sent."""

    def receive(self, message_ids: Sequence[str]) -> Sequence[Reply]:
        """The replies that have come for some messages."""


@runtime_checkable
class Fuser(Protocol):
    """Publishes releases elsewhere than in the conversation's own thread."""

    def start(self) -> None:
        """Begin to fuse and publish what the registry holds."""

    def running(self) -> bool:
        """Whether it is at it."""

    def failure(self) -> str:
        """Why the last attempt failed; "" where it did not."""


@dataclass(frozen=True)
class ConversationSettings:
    """How the centre talks to its sites."""

    wait_seconds: float = 20.0
    """How long a site holds back an answer while it has nothing to say."""

    grace_seconds: float = 120.0
    """How long a message and its answer may be under way, beyond any wait."""

    slowest_bytes_per_second: int = 32 * 2**10
    """Bundles and releases get this much more time than the grace."""

    parcels_at_once: int = 32
    """Bundles and releases under way at a time, at most."""

    settle_seconds: float = 5.0
    """How long the registry must be unchanged before it is fused."""

    longest_settle_seconds: float = 300.0
    """A release that has been due for so long is fused though the registry goes on
    changing; never less than `settle_seconds`."""

    rest_seconds: float = 2.0
    """Pause after an exchange that moved nothing on."""

    retry_seconds: float = 60.0
    """Pause before what has failed or was refused is tried once more."""

    bind_nodes: bool = True
    """Whether nodes have shown a key, which then decides whose site they are."""

    tune: TuneAsk | None = None
    """Ask every site to tune first."""

    tune_seconds: float = 7 * 24 * 3600.0
    """How long a site may tune."""

    ask_again_seconds: float = 600.0
    """Pause before a site that will not tune at this hour is asked once more."""

    sites: int = 0
    """End once this many sites hold the release of all they offered; 0: never."""


@dataclass
class Flight:
    """One message under way."""

    message_id: str
    action: str
    deadline: float
    """On the conversation's own clock, seconds."""

    call: str = ""
    """SHA-256 of the signed call, which the answer must name."""

    digest: str = ""
    """Of the bundle asked for."""

    version: int = 0
    """Of the release delivered."""

    order: int = 0
    """Number of the order to tune, where one was sent."""

    verdicts: tuple[Verdict, ...] = ()
    """Told with it."""


@dataclass
class Node:
    """One connected site."""

    node_id: int
    site: str = ""
    key_id: str = ""
    """Of the site's key: the one enrolled with the node's key where nodes show one,
    else the one that signed the last answer."""

    met: bool = False
    """Whether it has said who it is."""

    release: int = 0
    """The version it holds."""

    tuned: bool = False
    """Whether it has been asked to tune and has answered."""

    offers: list[Offer] = field(default_factory=list)
    """What is still to be collected."""

    verdicts: list[Verdict] = field(default_factory=list)
    """What it has not been told yet."""

    flight: Flight | None = None
    failures: int = 0
    """Exchanges that failed in a row."""

    not_before: float = 0.0
    """Nothing is asked of it before."""

    ask_after: float = 0.0
    """No order to tune is given to it before."""

    undelivered: tuple[int, float] = (0, 0.0)
    """The version last delivered, and when it may be sent again if still due."""

    uncollected: dict[str, float] = field(default_factory=dict)
    """Bundles that could not be collected, and when to try them again."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way to it."""
        return self.flight is None
