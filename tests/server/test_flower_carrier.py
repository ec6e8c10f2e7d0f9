"""One node's reply that does not arrive whole delays nobody else's."""

import threading
from collections.abc import Iterable

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from mos_protocol.flower_records import to_records
from mos_server.federation import Reply
from mos_server.flower_carrier import FlowerCarrier, reply_of


class StuckGrid(Grid):  # type: ignore[misc]
    """A grid of which one reply's content never comes, as Flower waits for it."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

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
    return Message(content or to_records({"site": "north"}), 1, "query.sync")


def test_reply_that_never_arrives_whole_holds_up_no_other() -> None:
    grid = StuckGrid()
    carrier = FlowerCarrier(grid)
    replies: list[Reply] = []
    while not replies:
        replies += carrier.receive(["stuck", "quick"])
    assert [reply.message_id for reply in replies] == ["quick"]
    assert grid.asked.is_set()
    # Given up by the conversation, it is forgotten.
    assert carrier.receive([]) == []
    grid.let_go.set()


def test_nodes_come_with_the_keys_they_showed() -> None:
    assert FlowerCarrier(StuckGrid()).nodes() == {1: b"key"}


def test_reply_whose_content_is_not_ours_is_an_error_and_no_crash() -> None:
    foreign = RecordDict({"blob": ConfigRecord({"blob": b"x"})})
    assert "no blob" in reply_of(answer(foreign), "m1").error


def test_words_of_a_site_cannot_command_the_centres_terminal() -> None:
    content = RecordDict()
    asked = Message(content, 1, "query.sync")
    asked.metadata.__dict__["_message_id"] = "m1"
    answer = Message(Error(2, "\x1b[2J" + "x" * 1000), reply_to=asked)
    told = reply_of(answer, "m1").error
    assert told.isprintable()
    assert len(told) < 300
