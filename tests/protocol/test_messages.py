"""Asks and answers come back from plain values, and through Flower's own records."""

from typing import Any

import pytest

from mos_protocol.errors import MalformedError
from mos_protocol.messages import (
    MAX_ITEMS,
    CollectAsk,
    DeliverAnswer,
    Offer,
    SyncAnswer,
    SyncAsk,
    TuneAnswer,
    TuneAsk,
    Verdict,
)

OFFERS = (Offer("rex", "ab" * 32, 1, 300), Offer("bolt", "cd" * 32, 2, 400))
MESSAGES = [
    SyncAsk(1.5, (), 0),
    SyncAsk(
        30.0,
        (Verdict("ab" * 32, True, ""), Verdict("cd" * 32, False, "tampered: x")),
        4,
    ),
    SyncAnswer("north", (), 0, ""),
    SyncAnswer("north", OFFERS, 3, "ab" * 32),
    CollectAsk("ab" * 32),
    DeliverAnswer(True, "", 3),
    DeliverAnswer(False, "rolled-back: older", 4),
    TuneAsk(200, 7),
    TuneAsk(0, 0, rank=8),
    TuneAnswer(OFFERS, ""),
    TuneAnswer((), "no pictures"),
    TuneAnswer((), "from 22 to 6 h", later=True),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_message_comes_back(message: Any) -> None:
    assert type(message).from_dict(message.to_dict()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_flower_carries_every_message(message: Any) -> None:
    from flwr.app import ConfigRecord

    record = ConfigRecord(message.to_dict())
    assert type(message).from_dict(dict(record)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_missing_or_mistyped_value_is_refused(message: Any) -> None:
    values = message.to_dict()
    for key in values:
        lacking = {name: value for name, value in values.items() if name != key}
        for broken in (lacking, values | {key: None}, values | {key: [None]}):
            with pytest.raises(MalformedError, match=key):
                type(message).from_dict(broken)


def test_truth_is_no_number() -> None:
    with pytest.raises(MalformedError):
        TuneAsk.from_dict({"steps": True, "seed": 0, "rank": 0})


def test_nothing_is_counted_below_zero() -> None:
    answer = SyncAnswer("north", OFFERS, 3, "").to_dict()
    for key in ("offer-bytes", "offer-counters"):
        with pytest.raises(MalformedError, match=key):
            SyncAnswer.from_dict(answer | {key: [1, -1]})
    with pytest.raises(MalformedError, match="release-version"):
        SyncAnswer.from_dict(answer | {"release-version": -1})
    for key in ("steps", "rank"):
        with pytest.raises(MalformedError, match=key):
            TuneAsk.from_dict(TuneAsk(1, 0).to_dict() | {key: -5})


def test_more_offers_than_a_site_names_at_once_are_refused() -> None:
    many = SyncAnswer("north", OFFERS[:1] * (MAX_ITEMS + 1), 3, "")
    with pytest.raises(MalformedError, match="1025 items"):
        SyncAnswer.from_dict(many.to_dict())


def test_lists_of_different_length_are_refused() -> None:
    values = SyncAnswer("north", OFFERS, 3, "").to_dict()
    with pytest.raises(MalformedError, match="length"):
        SyncAnswer.from_dict(values | {"offer-counters": [1]})
