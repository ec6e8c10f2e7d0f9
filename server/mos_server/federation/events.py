"""What happens at a centre: the events of its journal, which `serve` prints."""

from dataclasses import dataclass
from typing import Final

from mos_runtime.journal import Codec, Event


@dataclass(frozen=True)
class Monitored(Event):
    """Health and metrics are served."""

    TEXT = "http://127.0.0.1:{port}/healthz and /metrics"

    port: int


@dataclass(frozen=True)
class Page(Event):
    """The centre's page is served."""

    TEXT = "the page's addresses are in {file}"

    file: str
    """Holds its addresses; a path of this machine."""


@dataclass(frozen=True)
class PageFailed(Event):
    """The centre's page could not be served."""

    TEXT = "no page: {reason}"

    reason: str


@dataclass(frozen=True)
class Listening(Event):
    """The port is open."""

    TEXT = "sites may connect to {address}"

    address: str


@dataclass(frozen=True)
class Serving(Event):
    """A run has begun."""

    TEXT = "ready"


@dataclass(frozen=True)
class Finished(Event):
    """A run has ended as planned."""


@dataclass(frozen=True)
class Restarting(Event):
    """Flower's processes ended, and are started again."""

    TEXT = "restarting: {reason}"

    reason: str


@dataclass(frozen=True)
class Resubmitting(Event):
    """The run ended, and is started again."""

    TEXT = "a new run: {reason}"

    reason: str


@dataclass(frozen=True)
class Crashed(Event):
    """The run ended with an exception."""

    TEXT = "the run crashed: {reason}"

    reason: str


@dataclass(frozen=True)
class DoorOpen(Event):
    """A site's node key is registered."""

    TEXT = "{site} may connect"

    site: str


@dataclass(frozen=True)
class DoorShut(Event):
    """A site's node key is registered no more."""

    TEXT = "{site} may not connect any more"

    site: str


@dataclass(frozen=True)
class NotRegistered(Event):
    """A site's node key was refused."""

    TEXT = "{site}: its node key was refused: {reason}"

    site: str
    reason: str


@dataclass(frozen=True)
class Joined(Event):
    """A site has answered for the first time since it connected."""

    TEXT = "{site} is connected and holds release {release}"

    site: str
    release: int
    """Version that it holds, 0 for none."""


@dataclass(frozen=True)
class Left(Event):
    """A site has disconnected."""

    TEXT = "{site} has disconnected"

    site: str


@dataclass(frozen=True)
class Stranger(Event):
    """A node of no enrolled site has connected."""

    TEXT = "a node that no site enrolled is ignored"

    node: str


@dataclass(frozen=True)
class Received(Event):
    """An answer of a site has come."""

    site: str
    action: str
    bytes: int


@dataclass(frozen=True)
class Accepted(Event):
    """A bundle is accepted."""

    TEXT = "{site}: bundle {digest:.12} accepted, {bytes} bytes"

    site: str
    digest: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class Refused(Event):
    """A bundle is refused."""

    TEXT = "{site}: bundle {digest:.12} refused, {reason}"

    site: str
    digest: str
    reason: str
    bytes: int


@dataclass(frozen=True)
class LeftOut(Event):
    """An accepted bundle is in no release, for a fault of its own."""

    TEXT = "{site}/{concept} is left out: {reason}"

    site: str
    concept: str
    reason: str


@dataclass(frozen=True)
class FusionStarted(Event):
    """A fusion has begun."""

    TEXT = "fusing {concepts} concept(s)"

    concepts: int


@dataclass(frozen=True)
class Fusing(Event):
    """A fusion has come so far."""

    what: str
    share: float
    """0 to 1."""


@dataclass(frozen=True)
class Published(Event):
    """A release is published."""

    version: int
    concepts: tuple[str, ...]
    bytes: int

    @property
    def line(self) -> str:
        """In one line."""
        concepts = ", ".join(self.concepts) or "no concept is left"
        return f"release {self.version}: {concepts}"


@dataclass(frozen=True)
class FusionFailed(Event):
    """A fusion has failed; it is tried again later."""

    TEXT = "no release: {reason}"

    reason: str


@dataclass(frozen=True)
class Delivered(Event):
    """A site has taken a release."""

    TEXT = "{site} holds release {version}"

    site: str
    version: int
    bytes: int


@dataclass(frozen=True)
class NotDelivered(Event):
    """A site has refused a release."""

    TEXT = "{site} refused release {version}: {reason}"

    site: str
    version: int
    reason: str


@dataclass(frozen=True)
class Tuned(Event):
    """A site has carried out a tune order."""

    TEXT = "{site} has tuned what it was asked for"

    site: str


@dataclass(frozen=True)
class TuneFailed(Event):
    """A site has not carried out a tune order, and will not."""

    TEXT = "{site} did not tune: {reason}"

    site: str
    reason: str


@dataclass(frozen=True)
class TunePostponed(Event):
    """A site will be asked again."""

    TEXT = "{site} does not tune now: {reason}"

    site: str
    reason: str


@dataclass(frozen=True)
class Failed(Event):
    """A call to a site has failed."""

    TEXT = "{site}: {action} failed: {reason}"

    site: str
    action: str
    reason: str


CentreEvent = (
    Monitored
    | Page
    | PageFailed
    | Listening
    | Serving
    | Finished
    | Restarting
    | Resubmitting
    | Crashed
    | DoorOpen
    | DoorShut
    | NotRegistered
    | Joined
    | Left
    | Stranger
    | Received
    | Accepted
    | Refused
    | LeftOut
    | FusionStarted
    | Fusing
    | Published
    | FusionFailed
    | Delivered
    | NotDelivered
    | Tuned
    | TuneFailed
    | TunePostponed
    | Failed
)

CENTRE_EVENTS: Final = Codec[CentreEvent](CentreEvent)
