"""What a site says when something failed outside its ClientApp: a kind, never words.

An exception within the app is answered by its class name (`flower.redact`). Before the
app runs, Flower itself answers, with the exception's text, which may hold a path of
this machine: a folder that cannot be written, a disk that is full. Such an answer is
made anew on its way out.
"""

import copy
import re
from collections.abc import Callable
from typing import Any, Final

from flwr.app import Error, Message
from flwr.app.message.message import make_message
from flwr.supercore.inflatable.inflatable_object import get_object_tree

Send = Callable[[Message, Any, float], tuple[set[str], str]]
Push = Callable[[int, str, str, bytes], None]

_KIND: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLOWERS_OWN: Final = re.compile(r"<class '(?:\w+\.)*(\w+)'>:.*", re.ASCII | re.DOTALL)
_UNKNOWN: Final = "FlowerError"


def without_words(message: Message) -> Message:
    """The answer itself, or, where its error says more than a kind, one that does not.

    Args:
        message: On its way to the centre.
    """
    if not message.has_error() or _KIND.fullmatch(message.error.reason or ""):
        return message
    own = _FLOWERS_OWN.fullmatch(message.error.reason or "")
    error = Error(message.error.code, own[1] if own else _UNKNOWN)
    # Flower goes on to use the old one's metadata, which names the old one.
    made = make_message(copy.copy(message.metadata), error=error)
    made.metadata.__dict__["_message_id"] = made.object_id
    return made


def guarded_send(send: Send, push: Push) -> Send:
    """Flower's `send`, through which no error's words leave.

    An answer that was made anew is pushed whole here: Flower holds only the old one.

    Args:
        send: Sends the centre a message and its object tree.
        push: Hands over one object of it.
    """

    def checked(message: Message, tree: Any, seconds: float) -> tuple[set[str], str]:
        made = without_words(message)
        if made is message:
            return send(message, tree, seconds)
        wanted, session = send(made, get_object_tree(made), seconds)
        for object_id in wanted:
            push(made.metadata.run_id, session, object_id, made.deflate())
        return set(), session

    return checked
