"""Flower's place taken by a list: the real ClientApp of every site, in this process."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from mos_client.federation.app import app
from mos_client.store.home import SiteHome
from mos_model.bases.base import Base
from mos_protocol.encoding.canonical import parse, sha256
from mos_protocol.flower_records import envelope_of, to_records
from mos_protocol.manifest_pb2 import Answer
from mos_protocol.messages import PlainDict
from mos_protocol.signed.call import Address, Call, SignedCall, sign_answer, sign_call
from mos_protocol.signed.envelope import open_envelope
from mos_protocol.signed.keys import SigningKey
from mos_server.federation.carrier import Reply
from mos_server.federation.flower_carrier import reply_of
from mos_server.federation.publishing import publish
from mos_server.fusion import FusionSettings
from mos_server.registry.sites.node_keys import node_key
from tests.support.sites import Centre

RUN, NODE = 1, 7
"""Where `ask` shows a call."""


def show(
    home: SiteHome,
    action: str,
    envelope: bytes,
    blob: bytes | None = None,
    *,
    node: int = NODE,
    config: dict[str, str] | None = None,
) -> Message:
    """What a site's ClientApp answers to one message, whoever signed it."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = RUN
    message = Message(to_records(envelope, blob), node, action)
    message.metadata.__dict__["_message_id"] = "asked"
    own: dict[str, bool | float | int | str] = {"site-home": str(home.folder)}
    return app(message, Context(RUN, node, own, RecordDict(), {**(config or {})}))


def call(
    key: SigningKey,
    action: str,
    values: PlainDict | None = None,
    blob: bytes | None = None,
    *,
    node: int = NODE,
    run: int = RUN,
    created: int | None = None,
) -> SignedCall:
    """A call as the centre of `key` signs it."""
    begun = int(time.time()) if created is None else created
    to, end = Address(node, run, action), begun + 60
    return sign_call(to, values, blob, key=key, created=begun, expires=end)


def ask(
    home: SiteHome,
    key: SigningKey,
    action: str,
    values: PlainDict | None = None,
    blob: bytes | None = None,
    config: dict[str, str] | None = None,
) -> Message:
    """What a site's ClientApp answers to a call of the centre that has `key`.

    Args:
        home: The site's.
        key: Of the centre.
        action: What is asked.
        values: An ask's dictionary.
        blob: What travels with it.
        config: Of the run, which whoever submitted it wrote.
    """
    envelope = call(key, action, values, blob).envelope
    return show(home, action, envelope, blob, config=config)


def said(answer: Message | bytes) -> PlainDict:
    """The values of an answer, or of its envelope, whoever signed it."""
    envelope = answer if isinstance(answer, bytes) else envelope_of(answer.content)
    sealed = open_envelope(envelope)
    found: PlainDict = json.loads(parse(Answer, sealed.payload, "an answer").values)
    return found


@dataclass
class Wire:
    """A `Carrier` between a centre and the homes of sites, by node id."""

    homes: dict[int, SiteHome]
    silent: set[int] = field(default_factory=set)
    """Nodes that take messages and never answer."""

    strange: dict[int, Callable[[str, bytes], Reply]] = field(default_factory=dict)
    """Nodes that answer every message with something of their own, by its id and
    envelope."""

    answers: list[Message] = field(default_factory=list)
    """Everything that any site has sent."""

    actions: list[tuple[int, str]] = field(default_factory=list)
    """Everything that was asked of a node."""

    run: int = RUN
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
        envelope: bytes,
        blob: bytes | None,
        *,
        ttl_seconds: float,
    ) -> str:
        assert ttl_seconds > 0
        self.actions.append((node, action))
        message_id = f"m{len(self.actions)}"
        if node in self.strange:
            self._waiting[message_id] = self.strange[node](message_id, envelope)
        elif node not in self.silent:
            answer = show(self.homes[node], action, envelope, blob, node=node)
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


def answer_as(
    home: SiteHome, values: PlainDict, blob: bytes | None = None
) -> Callable[[str, bytes], Reply]:
    """Whatever a site is asked, it answers this, rightly signed."""

    def answer(message_id: str, envelope: bytes) -> Reply:
        digest = sha256(open_envelope(envelope, endorsed=True).payload)
        asked = Call(digest, "", 0, 0, {})
        signed = sign_answer(asked, values, blob, key=home.signing_key())
        return Reply(message_id, signed, blob)

    return answer


def events_of(path: Path) -> list[str]:
    """Kinds of all events in a journal, in order."""
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]
