"""What happens at a site: the events of its journal, which `join` prints."""

from dataclasses import dataclass
from typing import Final

from mos_runtime.journal import Codec, Event


@dataclass(frozen=True)
class Connected(Event):
    """The centre is reached."""

    TEXT = "connected"


@dataclass(frozen=True)
class NotConnected(Event):
    """The centre is not reached."""

    TEXT = "not connected: {reason}"

    reason: str


@dataclass(frozen=True)
class Disconnected(Event):
    """The connection has ended; there will be another."""

    TEXT = "no connection; trying again in {pause_seconds:.0f} s"

    pause_seconds: float


@dataclass(frozen=True)
class Silent(Event):
    """The centre has not spoken for a minute."""

    TEXT = "nothing heard from {address} for a while; still trying"

    address: str


@dataclass(frozen=True)
class Signed(Event):
    """A concept is made and signed without tuning."""

    concept: str
    class_word: str
    bytes: int


@dataclass(frozen=True)
class Sent(Event):
    """A bundle was fetched by the centre."""

    TEXT = "sent <{concept}>, {bytes} bytes"

    concept: str
    bytes: int


@dataclass(frozen=True)
class Accepted(Event):
    """The centre has accepted a bundle."""

    TEXT = "the centre accepted <{concept}>"

    concept: str
    reason: str


@dataclass(frozen=True)
class Refused(Event):
    """The centre has refused a bundle."""

    TEXT = "the centre refused <{concept}>: {reason}"

    concept: str
    reason: str


@dataclass(frozen=True)
class Withdrawn(Event):
    """The centre has withdrawn a concept, as this site asked."""

    TEXT = "the centre has withdrawn <{concept}>"

    concept: str


@dataclass(frozen=True)
class KeyChanged(Event):
    """The centre knows this site's new key."""

    TEXT = "the centre now uses this site's new key {key}"

    key: str


@dataclass(frozen=True)
class RequestRefused(Event):
    """The centre has refused a withdrawal, or a change of key."""

    TEXT = "the centre refused a request: {reason}"

    concept: str
    reason: str


@dataclass(frozen=True)
class Preparing(Event):
    """Something is done before tuning."""

    what: str


@dataclass(frozen=True)
class LeftOut(Event):
    """A picture is not used."""

    file: str


@dataclass(frozen=True)
class TuneStarted(Event):
    """Tuning has begun, as the centre asked."""

    TEXT = "the centre asked for <{concept}>; tuning it"

    concept: str
    class_word: str
    pictures: int
    steps: int


@dataclass(frozen=True)
class Tuning(Event):
    """Tuning has come so far."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Tuned(Event):
    """A concept is tuned and signed."""

    TEXT = "<{concept}> is tuned"

    concept: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class TuneRefused(Event):
    """The site's policy does not allow what the centre asks."""

    TEXT = "the centre asked for <{concept}>; refused: {reason}"

    concept: str
    reason: str


@dataclass(frozen=True)
class TuneFailed(Event):
    """Tuning has failed."""

    TEXT = "tuning failed: {error}"

    error: str


@dataclass(frozen=True)
class Release(Event):
    """A release was received and checked."""

    version: int
    concepts: tuple[str, ...]
    bytes: int

    @property
    def line(self) -> str:
        """In one line."""
        concepts = ", ".join(self.concepts) or "no concept is left"
        return f"release {self.version} received: {concepts}"


@dataclass(frozen=True)
class ReleaseRefused(Event):
    """A release was received and failed its checks."""

    TEXT = "a release was refused: {reason}"

    reason: str


@dataclass(frozen=True)
class CallRefused(Event):
    """A call of the centre was not verified."""

    TEXT = "{action} was refused: {reason}"

    action: str
    reason: str


@dataclass(frozen=True)
class AppRefused(Event):
    """The centre has sent code, which is not run."""

    TEXT = "refused to run: {reason}"

    reason: str


@dataclass(frozen=True)
class Failed(Event):
    """A call of the centre has failed here."""

    TEXT = "{action} failed here: {error}"

    action: str
    error: str


SiteEvent = (
    Connected
    | NotConnected
    | Disconnected
    | Silent
    | Signed
    | Sent
    | Accepted
    | Refused
    | Withdrawn
    | KeyChanged
    | RequestRefused
    | Preparing
    | LeftOut
    | TuneStarted
    | Tuning
    | Tuned
    | TuneRefused
    | TuneFailed
    | Release
    | ReleaseRefused
    | CallRefused
    | AppRefused
    | Failed
)

SITE_EVENTS: Final = Codec[SiteEvent](SiteEvent)
