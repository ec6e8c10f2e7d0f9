"""The journal: every event once, in order, whoever wrote it."""

import threading
from pathlib import Path

import pytest

from mos_runtime import journal as journals
from mos_runtime.journal import Journal, JournalReader, aside


def test_every_event_is_read_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "journal.jsonl"
    reader = JournalReader(path)
    assert reader.new() == ()
    Journal(path).write("sent", concept="rex", bytes=7)
    Journal(path).write("accepted", concept="rex")
    events = reader.new()
    assert [event.kind for event in events] == ["sent", "accepted"]
    assert events[0].facts["bytes"] == 7
    assert reader.new() == ()


def test_reader_from_the_end_leaves_out_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).write("old")
    reader = JournalReader(path, from_end=True)
    Journal(path).write("new")
    assert [event.kind for event in reader.new()] == ["new"]


def test_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    path.write_bytes(b'{"event": "one"}\n{"event": ')
    assert [event.kind for event in reader.new()] == ["one"]
    with path.open("ab") as file:
        file.write(b'"two"}\n')
    assert [event.kind for event in reader.new()] == ["two"]


def test_line_that_is_no_event_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'[]\n\xff\n{"no": 1}\n{"event": "good"}\n')
    assert [event.kind for event in JournalReader(path).new()] == ["good"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Journals are put aside at 2 KB."""
    monkeypatch.setattr(journals, "MAX_JOURNAL_BYTES", 2048)
    return 2048


def numbers(reader: JournalReader) -> list[int]:
    return [event.facts["number"] for event in reader.new()]


def test_journal_takes_no_more_than_twice_its_size(tmp_path: Path, small: int) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(500):
        Journal(path).write("tuning", number=number)
    files = [one for one in tmp_path.iterdir() if not one.name.startswith(".")]
    assert sorted(files) == [path, aside(path)]
    assert all(one.stat().st_size < small + 200 for one in files)


def test_reader_misses_nothing_where_a_journal_is_put_aside(
    tmp_path: Path, small: int
) -> None:
    path = tmp_path / "journal.jsonl"
    reader, seen = JournalReader(path), list[int]()
    for number in range(500):
        Journal(path).write("tuning", number=number)
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
        Journal(path).write("tuning", number=number)
    assert aside(path).exists()
    late = numbers(JournalReader(path))
    assert late == list(range(late[0], 60))
    assert len(late) > len(path.read_bytes().splitlines())


def test_reader_from_the_end_follows_into_the_next_file(
    tmp_path: Path, small: int
) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(10):
        Journal(path).write("tuning", number=number)
    reader = JournalReader(path, from_end=True)
    for number in range(10, 40):
        Journal(path).write("tuning", number=number)
    assert aside(path).exists()
    assert numbers(reader) == list(range(10, 40))


def test_writers_at_once_put_a_journal_aside_once(tmp_path: Path, small: int) -> None:
    path = tmp_path / "journal.jsonl"
    reader, seen = JournalReader(path), list[int]()

    def write(first: int) -> None:
        for number in range(first, first + 12):
            Journal(path).write("tuning", number=number)

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
