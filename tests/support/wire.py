"""Flower's place taken by a list: the real ClientApp of every site, in this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from mos_client.federation.app import app
from mos_client.store.home import SiteHome
from mos_model.base import Base
from mos_protocol.flower_records import to_records
from mos_protocol.messages import PlainDict
from mos_server.federation.carrier import Reply
from mos_server.federation.flower_carrier import reply_of
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.registry.node_keys import node_key
from tests.support.sites import Centre


def ask(home: SiteHome, action: str, content: RecordDict, **run: str) -> Message:
    """What a site's ClientApp answers to one message."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    message = Message(content, 7, action)
    message.metadata.__dict__["_message_id"] = "asked"
    node: dict[str, bool | float | int | str] = {"site-home": str(home.folder)}
    return app(message, Context(1, 7, node, RecordDict(), dict(run)))


@dataclass
class Wire:
    """A `Carrier` between a centre and the homes of sites, by node id."""

    homes: dict[int, SiteHome]
    silent: set[int] = field(default_factory=set)
    """Nodes that take messages and never answer."""

    strange: dict[int, Callable[[str], Reply]] = field(default_factory=dict)
    """Nodes that answer every message with something of their own, by its id."""

    answers: list[Message] = field(default_factory=list)
    """Everything that any site has sent."""

    actions: list[tuple[int, str]] = field(default_factory=list)
    """Everything that was asked of a node."""

    _waiting: dict[str, Reply] = field(default_factory=dict)

    def nodes(self) -> Mapping[int, bytes]:
        from flwr.supercore.primitives.asymmetric import public_key_to_bytes

        return {
            number: public_key_to_bytes(node_key(home.node_public_path.read_bytes()))
            for number, home in self.homes.items()
        }

    def send(
        self,
        node: int,
        action: str,
        values: PlainDict | None,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> str:
        assert ttl_seconds > 0
        self.actions.append((node, action))
        message_id = f"m{len(self.actions)}"
        if node in self.strange:
            self._waiting[message_id] = self.strange[node](message_id)
        elif node not in self.silent:
            answer = ask(self.homes[node], action, to_records(values, blob))
            self.answers.append(answer)
            self._waiting[message_id] = reply_of(answer, message_id)
        return message_id

    def receive(self, message_ids: Sequence[str]) -> Sequence[Reply]:
        return [self._waiting.pop(i) for i in message_ids if i in self._waiting]


@dataclass
class FusingHere:
    """A `Fuser` without a process of its own."""

    centre: Centre
    base: Base
    settings: FusionSettings

    def start(self) -> None:
        publish(
            self.centre.home, self.centre.registry, self.base, settings=self.settings
        )

    def running(self) -> bool:
        return False

    def failure(self) -> str:
        return ""


class NoFusion:
    """A `Fuser` for centres that must not come to fuse."""

    def start(self) -> None:
        raise AssertionError("nothing was to be fused")

    def running(self) -> bool:
        return False

    def failure(self) -> str:
        return ""


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def events_of(path: Path) -> list[str]:
    """Kinds of all events in a journal, in order."""
    from mos_runtime.journal import JournalReader

    return [event.kind for event in JournalReader(path).new()]
