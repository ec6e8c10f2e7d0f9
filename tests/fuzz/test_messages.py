"""What a node, or a centre, may put into a Flower message, and into an app."""

import io
import random
import zipfile
from typing import Any

import pytest

from mos_client.federation.guard import ForeignAppError, check_app
from mos_protocol import MalformedError
from mos_protocol.messages import (
    CollectAsk,
    DeliverAnswer,
    Offer,
    SyncAnswer,
    SyncAsk,
    TuneAnswer,
    TuneAsk,
    Verdict,
)
from mos_server.serving.superlink import FLOWER_APP
from tests.fuzz.mutations import NUMBERS, TEXTS, changed_bytes

MESSAGES: tuple[Any, ...] = (
    SyncAsk(1.0, (Verdict("a" * 64, False, "tampered: words"),), 3),
    SyncAnswer("north", (Offer("rex", "c" * 64, 1, 9),), 1, "d" * 64),
    CollectAsk("a" * 64),
    DeliverAnswer(False, "expired", 2),
    TuneAsk(5, 1),
    TuneAnswer((Offer("rex", "c" * 64, 1, 9),), ""),
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *TEXTS,
    1.5,
    True,
    b"x",
    None,
    [],
    [1],
    ["a", 1],
    ["\x1b[2J"],
)


def texts_of(values: dict[str, Any]) -> list[str]:
    flat = [one for v in values.values() for one in (v if isinstance(v, list) else [v])]
    return [one for one in flat if isinstance(one, str)]


def test_message_of_any_values_is_read_whole_or_refused() -> None:
    source, told = random.Random(5), list[str]()
    for _ in range(3000):
        message = source.choice(MESSAGES)
        values = message.to_dict()
        for key in source.sample(
            sorted(values), min(len(values), source.choice((1, 1, 2)))
        ):
            if source.random() < 0.1:
                del values[key]
            else:
                values[key] = source.choice(VALUES)
        try:
            again = type(message).from_dict(values)
        except MalformedError as error:
            told.append(str(error))
            continue
        assert again.to_dict() == values
        # It is shown on terminals, and stands in the registry and in journals.
        assert all(one.isprintable() and len(one) <= 1024 for one in texts_of(values))
    assert len(told) > 1000
    assert all(text.isprintable() for text in told)


def app_of(texts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_app_of_any_bytes_is_ours_or_refused() -> None:
    ours = (FLOWER_APP / "pyproject.toml").read_bytes()
    honest = app_of({"pyproject.toml": ours, ".info/CONTENT": b"x"})
    source = random.Random(6)
    told: list[str] = []
    for number in range(3000):
        if number % 3:
            content = changed_bytes(source, honest)
        else:
            content = app_of({"pyproject.toml": changed_bytes(source, ours)})
        try:
            check_app(content)
        except ForeignAppError as refusal:
            told.append(str(refusal))
    assert len(told) > 1500
    assert all(text.isprintable() for text in told)


@pytest.mark.parametrize(
    "description",
    [b"a = " + b"[" * 4000, b"a." * 2000 + b"b = 1"],
    ids=["lists", "tables"],
)
def test_app_with_a_description_of_very_many_levels_is_refused(
    description: bytes,
) -> None:
    with pytest.raises(ForeignAppError):
        check_app(app_of({"pyproject.toml": description}))


@pytest.mark.parametrize("part", ["name", "publisher", "version"])
@pytest.mark.parametrize("value", ["../../../escape", "/etc", "a/b", ".."])
def test_app_whose_name_points_elsewhere_is_refused(part: str, value: str) -> None:
    lines = (FLOWER_APP / "pyproject.toml").read_text().splitlines()
    changed = [
        f'{part} = "{value}"' if line.startswith(f"{part} = ") else line
        for line in lines
    ]
    assert changed != lines
    with pytest.raises(ForeignAppError):
        check_app(app_of({"pyproject.toml": "\n".join(changed).encode()}))
