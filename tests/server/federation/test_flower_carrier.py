"""One node's reply that is late, or no reply at all, is that node's alone."""

import threading
from collections.abc import Iterable

import httpx
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

from mos_protocol.flower_records import to_records
from mos_server.federation.carrier import Reply
from mos_server.federation.flower_carrier import FlowerCarrier, reply_of


class StuckGrid(Grid):  # type: ignore[misc]
    """A grid of which one reply's content never comes, as Flower waits for it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.failures: dict[str, list[Exception]] = {}
        """What pulling a message raises, in turn."""

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [node.node_id for node in self.get_nodes()]

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=1, public_key=b"key")]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [str(message.metadata.dst_node_id) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        (message_id,) = message_ids
        if self.failures.get(message_id):
            raise self.failures[message_id].pop(0)
        if message_id == "stuck":
            self.asked.set()
            self.let_go.wait()
            return []
        return [answer()]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def identity() -> None:
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


def answer(content: RecordDict | None = None) -> Message:
    content = to_records(b"sealed") if content is None else content
    return Message(content, 1, "query.sync")


def test_reply_that_never_arrives_whole_holds_up_no_other() -> None:
    grid = StuckGrid()
    carrier = FlowerCarrier(grid, 1)
    replies: list[Reply] = []
    while not replies:
        replies += carrier.receive(["stuck", "quick"])
    assert [reply.message_id for reply in replies] == ["quick"]
    assert grid.asked.is_set()
    # Given up by the conversation, it is forgotten.
    assert carrier.receive([]) == []
    grid.let_go.set()


def test_nodes_come_with_the_keys_they_showed() -> None:
    assert FlowerCarrier(StuckGrid(), 1).nodes() == {1: b"key"}


def test_reply_whose_content_is_not_ours_is_an_error_and_no_crash() -> None:
    foreign = to_records(b"sealed")
    foreign["blob"] = ConfigRecord({"blob": b"x"})
    assert "no blob" in reply_of(answer(foreign), "m1").error


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("Class name (Message) and object type (Array)"),
        KeyError("Nonsense"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        DecodeError("Error parsing message"),
        RecursionError(),
        MemoryError(),
        httpx.HTTPStatusError(
            "500",
            request=httpx.Request("POST", "http://x"),
            response=httpx.Response(500),
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_reply_that_flower_cannot_unfold_is_that_nodes_error(raised: Exception) -> None:
    grid = StuckGrid()
    grid.failures["broken"] = [raised]
    carrier, replies = FlowerCarrier(grid, 1), dict[str, Reply]()
    while len(replies) < 2:
        waiting = [name for name in ("broken", "quick") if name not in replies]
        replies |= {one.message_id: one for one in carrier.receive(waiting)}
    assert type(raised).__name__ in replies["broken"].error
    assert replies["quick"].envelope == b"sealed"


def test_reply_is_asked_for_again_where_the_superlink_was_not_reached() -> None:
    grid = StuckGrid()
    grid.failures["m1"] = [httpx.ConnectError("refused"), httpx.ReadTimeout("late")]
    carrier, replies = FlowerCarrier(grid, 1), list[Reply]()
    while not replies:
        replies += carrier.receive(["m1"])
    assert not replies[0].error
    assert grid.failures["m1"] == []


STRANGE = {
    "nothing": RecordDict(),
    "numbers for an envelope": RecordDict({"mos": MetricRecord({"mos": 1})}),
    "words for an envelope": RecordDict({"mos": ConfigRecord({"mos": "sealed"})}),
    "arrays for an envelope": RecordDict({"mos": ArrayRecord({})}),
    "a blob of two arrays": RecordDict(
        {
            **to_records(b"sealed"),
            "blob": ArrayRecord(
                {name: Array("uint8", (1,), "x", b"x") for name in ("blob", "more")}
            ),
        }
    ),
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_records_of_another_kind_are_an_error_and_no_crash(content: RecordDict) -> None:
    assert "the message holds no" in reply_of(answer(content), "m1").error


def test_words_of_a_site_cannot_command_the_centres_terminal() -> None:
    content = RecordDict()
    asked = Message(content, 1, "query.sync")
    asked.metadata.__dict__["_message_id"] = "m1"
    answer = Message(Error(2, "\x1b[2J" + "x" * 1000), reply_to=asked)
    told = reply_of(answer, "m1").error
    assert told.isprintable()
    assert len(told) < 300
