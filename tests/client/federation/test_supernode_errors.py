"""What leaves a site when Flower itself fails before the ClientApp runs."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.app.message.message import Message as InflatableMessage
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from mos_client.federation.supernode_errors import guarded_send

PATH = "/home/someone/private/pictures"
WORDS = [
    (f"<class 'OSError'>:<'[Errno 28] No space left on device: {PATH}'>", "OSError"),
    (f"<class 'a.b.LoadError'>:<'two\nlines {PATH}'>", "LoadError"),
    (f"something else about {PATH}", "FlowerError"),
    ("", "FlowerError"),
]


@dataclass
class Fleet:
    """The two calls of Flower's Fleet API by which an answer leaves."""

    sent: list[Message] = field(default_factory=list)
    pushed: dict[str, bytes] = field(default_factory=dict)

    def send(self, message: Message, tree: Any, _: float) -> tuple[set[str], str]:
        self.sent.append(message)
        return {tree.object_id}, "session"

    def push(self, _run: int, _session: str, object_id: str, content: bytes) -> None:
        self.pushed[object_id] = content


def answer(**made: Any) -> Message:
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    asked = Message(RecordDict(), 7, "query.sync")
    asked.metadata.__dict__["_message_id"] = "asked"
    found = Message(**made, reply_to=asked)
    found.metadata.__dict__["_message_id"] = found.object_id
    return found


@pytest.mark.parametrize(("reason", "kind"), WORDS)
def test_words_of_an_early_error_stay_and_its_kind_leaves(
    reason: str, kind: str
) -> None:
    fleet = Fleet()
    message = answer(error=Error(3, reason))
    before = message.metadata.message_id
    left = guarded_send(fleet.send, fleet.push)(message, get_object_tree(message), 0.1)
    assert left == (set(), "session")
    assert message.metadata.message_id == before
    (sent,) = fleet.sent
    assert (sent.error.code, sent.error.reason) == (3, kind)
    assert sent.metadata.reply_to_message_id == "asked"
    (content,) = fleet.pushed.values()
    assert PATH.encode() not in content
    (object_id,) = fleet.pushed
    assert object_id == sent.metadata.message_id == sent.object_id
    assert InflatableMessage.inflate(content).error.reason == kind


def test_other_answers_leave_as_they_are() -> None:
    fleet = Fleet()
    for message in (answer(error=Error(2, "StoreError")), answer(content=RecordDict())):
        tree = get_object_tree(message)
        wanted, _ = guarded_send(fleet.send, fleet.push)(message, tree, 0.1)
        assert wanted == {tree.object_id}
        assert fleet.sent.pop() is message
    assert fleet.pushed == {}
