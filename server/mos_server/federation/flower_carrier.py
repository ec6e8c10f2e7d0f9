"""A Flower grid as the conversation's carrier; no reply of one node delays another's.

`Grid.pull_messages` waits until a reply's content has arrived whole, up to two hours,
and a site that is slow, or was killed half-way, makes it wait. So every reply is pulled
by a thread of its own, and only the conversation's deadlines decide when to give up.

What a site sends may be anything. A reply that Flower cannot unfold, or that is not one
of ours, is an error of that one site; it ends neither the run nor another's exchange.
That the SuperLink itself is gone shows when it is asked for its nodes, which raises.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from mos_protocol.errors import MalformedError
from mos_protocol.flower_records import blob_of, envelope_of, to_records
from mos_server.federation.carrier import Reply

_LOOK_FOR_NODES_EVERY_SECONDS: Final = 1.0
_PULL_EVERY_SECONDS: Final = 0.3
_MAX_REASON_CHARACTERS: Final = 200
_PULLS_PER_SECOND: Final = 50
"""At most, so that many sites do not keep the SuperLink busy with questions."""


class FlowerCarrier:
    """Carries our messages over a Flower grid."""

    def __init__(self, grid: Grid, run: int) -> None:
        """A carrier for one run.

        Args:
            grid: Flower's.
            run: Flower's id of the run.
        """
        self._grid, self._run = grid, run
        self._nodes: dict[int, bytes] = {}
        self._looked_at = float("-inf")
        self._pulls: dict[str, _Pull] = {}

    @property
    def run(self) -> int:
        """Flower's id of the run that the messages belong to."""
        return self._run

    def nodes(self) -> Mapping[int, bytes]:
        """The nodes that are connected, each with its public key (PEM)."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_FOR_NODES_EVERY_SECONDS:
            self._looked_at = now
            self._nodes = {
                int(node.node_id): bytes(node.public_key)
                for node in self._grid.get_nodes()
            }
        return self._nodes

    def send(
        self,
        node: int,
        action: str,
        envelope: bytes,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> str:
        """Send one message; its id, or "" where Flower did not take it."""
        content = to_records(envelope, blob)
        message = Message(content, node, action, ttl=ttl_seconds)
        return next(iter(self._grid.push_messages([message])), "")

    def receive(self, message_ids: Sequence[str]) -> Sequence[Reply]:
        """The replies that have come for some messages, whole.

        Where the SuperLink could not be reached it is asked again.
        """
        replies, every = (
            [],
            max(_PULL_EVERY_SECONDS, len(message_ids) / _PULLS_PER_SECOND),
        )
        for message_id in message_ids:
            pull = self._pulls.get(message_id)
            if pull is not None and not pull.done.is_set():
                continue
            if pull is not None and pull.reply is not None:
                replies.append(pull.reply)
                continue
            if pull is None or time.monotonic() - pull.begun >= every:
                self._pulls[message_id] = _Pull(self._grid, message_id)
        forgotten = set(self._pulls) - set(message_ids)
        for message_id in forgotten | {reply.message_id for reply in replies}:
            del self._pulls[message_id]
        return replies


class _Pull:
    """One look for one reply."""

    def __init__(self, grid: Grid, message_id: str) -> None:
        self.begun = time.monotonic()
        self.done = threading.Event()
        self.reply: Reply | None = None
        self._grid, self._message_id = grid, message_id
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for message in self._grid.pull_messages([self._message_id]):
                self.reply = reply_of(message, self._message_id)
        except httpx.TransportError:
            pass
        except Exception as error:
            # Flower unfolds what a site has packed, and fails in many ways at that.
            self.reply = _unreadable(self._message_id, error)
        self.done.set()


def reply_of(message: Message, message_id: str) -> Reply:
    """A site's message as the conversation sees it; nothing in it is judged.

    Args:
        message: What Flower brought.
        message_id: Of the message that it answers.
    """
    if message.has_error():
        reason = message.error.reason or f"Flower's error {message.error.code}"
        # A site words it as it likes, and it is shown on the centre's terminal.
        shown = reason[:_MAX_REASON_CHARACTERS]
        return Reply(message_id, error=shown if shown.isprintable() else repr(shown))
    content = message.content
    try:
        return Reply(message_id, envelope_of(content), blob_of(content))
    except MalformedError as error:
        return Reply(message_id, error=str(error))


def _unreadable(message_id: str, error: Exception) -> Reply:
    kind = type(error).__name__
    return Reply(message_id, error=f"the reply cannot be read ({kind})")
