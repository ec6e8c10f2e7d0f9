"""The journal: every event once, in order, whoever wrote it."""

import json
import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pytest

from mos_client.federation.events import SiteEvent
from mos_runtime import journal as journals
from mos_runtime.journal import Codec, Entry, Event, Journal, JournalReader, aside
from mos_server.federation.events import CentreEvent


@dataclass(frozen=True)
class Sent(Event):
    TEXT = "sent <{concept}>, {bytes} bytes"

    concept: str
    bytes: int


@dataclass(frozen=True)
class NotAccepted(Event):
    concepts: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Tuning(Event):
    number: int


AnEvent = Sent | NotAccepted | Tuning
EVENTS = Codec[AnEvent](AnEvent)


@pytest.mark.parametrize("union", [AnEvent, CentreEvent, SiteEvent])
def test_every_event_is_read_back_as_it_was_written(union: Any) -> None:
    samples: dict[Any, Any] = {
        str: "a {brace}\n",
        int: 7,
        float: 0.5,
        tuple[str, ...]: ("a", "b"),
    }
    kinds: tuple[type[Event], ...] = get_args(union)
    codec = Codec[Event](union)
    for kind in kinds:
        entry = Entry(kind(**{f.name: samples[f.type] for f in fields(kind)}), 3.5)
        assert codec.entry(entry.to_json()) == entry
        assert isinstance(entry.event.line, str)
    assert len({kind.kind() for kind in kinds}) == len(kinds)


def test_line_names_the_kind_and_the_event_has_words() -> None:
    entry = Entry(NotAccepted(("a",), 0.5), 1.0)
    assert json.loads(entry.to_json()) == {
        "event": "not-accepted",
        "time": 1.0,
        "concepts": ["a"],
        "share": 0.5,
    }
    assert entry.event.line == ""
    assert Sent("rex", 7).line == "sent <rex>, 7 bytes"


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"no": 1}',
        '{"event": "unknown", "time": 1}',
        '{"event": "sent", "time": 1, "concept": "rex"}',
        '{"event": "sent", "time": 1, "concept": "rex", "bytes": "7"}',
        '{"event": "sent", "time": 1, "concept": "rex", "bytes": true}',
        '{"event": "sent", "concept": "rex", "bytes": 7}',
        '{"event": "not-accepted", "time": 1, "concepts": [1], "share": 1}',
        "[" * 100_000,
    ],
)
def test_line_of_another_version_is_no_event(line: str) -> None:
    assert EVENTS.entry(line) is None


def test_every_event_is_read_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "journal.jsonl"
    reader = JournalReader(path, EVENTS)
    assert reader.new() == ()
    Journal(path).write(Sent("rex", 7))
    Journal(path).write(Tuning(1))
    assert [entry.event for entry in reader.new()] == [Sent("rex", 7), Tuning(1)]
    assert reader.new() == ()


def test_reader_from_the_end_leaves_out_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).write(Tuning(1))
    reader = JournalReader(path, EVENTS, from_end=True)
    Journal(path).write(Tuning(2))
    assert numbers(reader) == [2]


def test_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path, EVENTS)
    lines = [Entry(Tuning(number)).to_json().encode() + b"\n" for number in (1, 2)]
    path.write_bytes(lines[0] + lines[1][:9])
    assert numbers(reader) == [1]
    with path.open("ab") as file:
        file.write(lines[1][9:])
    assert numbers(reader) == [2]


def test_line_that_is_no_event_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'[]\n\xff\n{"no": 1}\n' + Entry(Tuning(1)).to_json().encode())
    with path.open("ab") as file:
        file.write(b"\n")
    assert numbers(JournalReader(path, EVENTS)) == [1]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Journals are put aside at 2 KB."""
    monkeypatch.setattr(journals, "MAX_JOURNAL_BYTES", 2048)
    return 2048


def numbers(reader: JournalReader[AnEvent]) -> list[int]:
    return [one.event.number for one in reader.new() if isinstance(one.event, Tuning)]


def test_journal_takes_no_more_than_twice_its_size(tmp_path: Path, small: int) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(500):
        Journal(path).write(Tuning(number))
    files = [one for one in tmp_path.iterdir() if not one.name.startswith(".")]
    assert sorted(files) == [path, aside(path)]
    assert all(one.stat().st_size < small + 200 for one in files)


def test_reader_misses_nothing_where_a_journal_is_put_aside(
    tmp_path: Path, small: int
) -> None:
    path = tmp_path / "journal.jsonl"
    reader, seen = JournalReader(path, EVENTS), list[int]()
    for number in range(500):
        Journal(path).write(Tuning(number))
        if number % 7 == 0:
            seen += numbers(reader)
    seen += numbers(reader)
    assert seen == list(range(500))
    assert aside(path).exists()


def test_reader_that_comes_late_begins_with_what_is_aside(
    tmp_path: Path, small: int
) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(60):
        Journal(path).write(Tuning(number))
    assert aside(path).exists()
    late = numbers(JournalReader(path, EVENTS))
    assert late == list(range(late[0], 60))
    assert len(late) > len(path.read_bytes().splitlines())


def test_reader_from_the_end_follows_into_the_next_file(
    tmp_path: Path, small: int
) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(10):
        Journal(path).write(Tuning(number))
    reader = JournalReader(path, EVENTS, from_end=True)
    for number in range(10, 40):
        Journal(path).write(Tuning(number))
    assert aside(path).exists()
    assert numbers(reader) == list(range(10, 40))


def test_writers_at_once_put_a_journal_aside_once(tmp_path: Path, small: int) -> None:
    path = tmp_path / "journal.jsonl"
    reader, seen = JournalReader(path, EVENTS), list[int]()

    def write(first: int) -> None:
        for number in range(first, first + 12):
            Journal(path).write(Tuning(number))

    for first in range(0, 360, 36):
        threads = [
            threading.Thread(target=write, args=(first + 12 * own,)) for own in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen += numbers(reader)
    assert sorted(seen) == list(range(360))
