"""The journal: every event once, in order, whoever wrote it."""

from pathlib import Path

from mos_protocol.journal import Journal, JournalReader


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
