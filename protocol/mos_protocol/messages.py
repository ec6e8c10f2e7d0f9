"""What the Flower messages between centre and site say, without Flower.

Every ask and answer turns into a flat dictionary of plain values and back:
`X.from_dict(x.to_dict()) == x`. A list of objects becomes one list per field. The
dictionary travels within a signed envelope (`mos_protocol.signed.call`); the blobs
(bundles and releases) travel with it, as one array of bytes each.

    query.sync      SyncAsk -> SyncAnswer; the site answers when it has something to
                    offer or the wait has passed
    query.collect   CollectAsk -> a blob, Bundle.to_bytes()
    query.deliver   a blob, Release.to_bytes() -> DeliverAnswer
    train.tune      TuneAsk -> TuneAnswer
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mos_protocol.errors import MalformedError

QUERY_SYNC: Final = "query.sync"
QUERY_COLLECT: Final = "query.collect"
QUERY_DELIVER: Final = "query.deliver"
TRAIN_TUNE: Final = "train.tune"
ACTIONS: Final = (QUERY_SYNC, QUERY_COLLECT, QUERY_DELIVER, TRAIN_TUNE)

ENVELOPE_KEY: Final = "mos"
"""The record, and in it the value, that holds the envelope of a call or an answer."""

BLOB_KEY: Final = "blob"
"""The record, and in it the array, that holds a blob."""

PlainValue = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]
"""What a dictionary holds under one key."""

PlainDict = dict[str, PlainValue]

T = TypeVar("T")

MAX_ITEMS: Final = 1024
"""Of any list in a message. A site that has more to offer names the rest later."""

MAX_TEXT_CHARACTERS: Final = 1024
"""Of any text in a message. It is shown on terminals and kept, so it is printable."""


@dataclass(frozen=True)
class Verdict:
    """What the centre thinks of a bundle."""

    digest: str
    """The bundle's, 64 hexadecimal digits."""

    accepted: bool
    reason: str
    """Why it was refused, for the site's user; "" where it was accepted."""


@dataclass(frozen=True)
class Offer:
    """A bundle in a site's outbox."""

    concept: str
    digest: str
    """The bundle's, 64 hexadecimal digits."""

    counter: int
    bytes: int
    """Size of the bundle's blob."""


@dataclass(frozen=True)
class SyncAsk:
    """The centre asks what is new, and says what it has decided."""

    wait_seconds: float
    """How long the site may hold its answer back while it has nothing to offer."""

    verdicts: tuple[Verdict, ...]
    """On bundles that the site offered before."""

    newest_release: int
    """Version of the newest release; 0 for none."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        return {
            "wait-seconds": float(self.wait_seconds),
            "verdict-digests": [one.digest for one in self.verdicts],
            "verdict-accepted": [one.accepted for one in self.verdicts],
            "verdict-reasons": [one.reason for one in self.verdicts],
            "newest-release": self.newest_release,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "SyncAsk":
        """The ask that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        verdicts = _columns(
            _list(values, "verdict-digests", str),
            _list(values, "verdict-accepted", bool),
            _list(values, "verdict-reasons", str),
        )
        return SyncAsk(
            wait_seconds=_one(values, "wait-seconds", float),
            verdicts=tuple(Verdict(*row) for row in verdicts),
            newest_release=_count(values, "newest-release"),
        )


@dataclass(frozen=True)
class SyncAnswer:
    """The site's name, what it offers, and which release it holds."""

    site: str
    offers: tuple[Offer, ...]
    release_version: int
    """Of the release that the site holds; 0 for none."""

    release_digest: str
    """Of the same; "" for none."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        return {
            "site": self.site,
            "release-version": self.release_version,
            "release-digest": self.release_digest,
            **_offers_to_dict(self.offers),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "SyncAnswer":
        """The answer that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        return SyncAnswer(
            site=_one(values, "site", str),
            offers=_offers_from_dict(values),
            release_version=_count(values, "release-version"),
            release_digest=_one(values, "release-digest", str),
        )


@dataclass(frozen=True)
class CollectAsk:
    """The centre asks for one of the offered bundles."""

    digest: str
    """The bundle's, 64 hexadecimal digits."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        return {"digest": self.digest}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "CollectAsk":
        """The ask that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        return CollectAsk(digest=_one(values, "digest", str))


@dataclass(frozen=True)
class DeliverAnswer:
    """The site says whether it took the release up."""

    accepted: bool
    reason: str
    """Why not; "" where it did."""

    version: int
    """Of the release that the site holds now; 0 for none."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        return {
            "accepted": self.accepted,
            "reason": self.reason,
            "version": self.version,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "DeliverAnswer":
        """The answer that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        return DeliverAnswer(
            accepted=_one(values, "accepted", bool),
            reason=_one(values, "reason", str),
            version=_count(values, "version"),
        )


@dataclass(frozen=True)
class TuneAsk:
    """The centre asks a site that allows it to tune its concept."""

    steps: int
    """Optimiser steps; 0 for the site's own setting."""

    seed: int
    rank: int = 0
    """r of every LoRA pair; 0 for the site's own setting."""

    concept: str = ""
    """Which of the concepts that the site's policy knows; "" in a simulation, where a
    site has one."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        return {
            "steps": self.steps,
            "seed": self.seed,
            "rank": self.rank,
            "concept": self.concept,
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "TuneAsk":
        """The ask that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        return TuneAsk(
            steps=_count(values, "steps"),
            seed=_one(values, "seed", int),
            rank=_count(values, "rank"),
            concept=_one(values, "concept", str),
        )


@dataclass(frozen=True)
class TuneAnswer:
    """The site says what came of it."""

    offers: tuple[Offer, ...]
    """All that its outbox holds now."""

    error: str
    """Why nothing was tuned; "" where something was."""

    later: bool = False
    """Whether only the hour was wrong, so that the same may be asked again."""

    def to_dict(self) -> PlainDict:
        """As plain values."""
        values = _offers_to_dict(self.offers)
        return {"error": self.error, "later": self.later, **values}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "TuneAnswer":
        """The answer that `to_dict` gave.

        Raises:
            MalformedError: a value is missing or of another type.
        """
        return TuneAnswer(
            _offers_from_dict(values),
            _one(values, "error", str),
            _one(values, "later", bool),
        )


def _offers_to_dict(offers: Sequence[Offer]) -> PlainDict:
    return {
        "offer-concepts": [one.concept for one in offers],
        "offer-digests": [one.digest for one in offers],
        "offer-counters": [one.counter for one in offers],
        "offer-bytes": [one.bytes for one in offers],
    }


def _offers_from_dict(values: Mapping[str, Any]) -> tuple[Offer, ...]:
    rows = _columns(
        _list(values, "offer-concepts", str),
        _list(values, "offer-digests", str),
        _counts(values, "offer-counters"),
        _counts(values, "offer-bytes"),
    )
    return tuple(Offer(*row) for row in rows)


def _one(values: Mapping[str, Any], key: str, kind: type[T]) -> T:
    # `True` is an int to isinstance.
    value = values.get(key)
    if type(value) is not kind:
        raise MalformedError(f"the message's {key!r} is {value!r:.80}")
    if isinstance(value, str):
        _check_text(value, key)
    return value


def _count(values: Mapping[str, Any], key: str) -> int:
    number = _one(values, key, int)
    if number < 0:
        raise MalformedError(f"the message's {key!r} is {number}; it cannot be below 0")
    return number


def _counts(values: Mapping[str, Any], key: str) -> list[int]:
    numbers = _list(values, key, int)
    if any(number < 0 for number in numbers):
        raise MalformedError(f"the message's {key!r} holds a number below 0")
    return numbers


def _list(values: Mapping[str, Any], key: str, kind: type[T]) -> list[T]:
    found = values.get(key)
    if isinstance(found, list) and len(found) > MAX_ITEMS:
        raise MalformedError(
            f"the message's {key!r} has {len(found)} items; at most {MAX_ITEMS} are "
            "taken"
        )
    if not isinstance(found, list) or any(type(value) is not kind for value in found):
        raise MalformedError(f"the message's {key!r} is not a list of {kind.__name__}")
    for value in found:
        if isinstance(value, str):
            _check_text(value, key)
    return found


def _check_text(text: str, key: str) -> None:
    if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise MalformedError(
            f"the message's {key!r} holds {text[:40]!r}: at most "
            f"{MAX_TEXT_CHARACTERS} printable characters are taken"
        )


def _columns(*columns: list[Any]) -> list[tuple[Any, ...]]:
    if len({len(column) for column in columns}) != 1:
        raise MalformedError("the message's lists differ in length")
    return list(zip(*columns, strict=True))
