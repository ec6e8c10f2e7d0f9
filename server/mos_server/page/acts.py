"""The operator's buttons: each calls what the command of the same name calls."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from mos_protocol.signed.enrolment import EnrolmentRequest
from mos_server.errors import RegistryError
from mos_server.registry.registry import Registry
from mos_server.serving.operating import Admission, admit_site, order_tuning

Given = Mapping[str, Any]
Act = Callable[[Given], dict[str, Any]]

_MOST_CHARACTERS: Final = 2**19


class Acts:
    """What a page may ask for: each public method is one of the buttons."""

    def __init__(self, registry: Registry, *, base: str, insecure: bool) -> None:
        """Of one centre.

        Args:
            registry: The centre's.
            base: Of all concepts, as `admit --base` takes it.
            insecure: Whether the centre serves without TLS.
        """
        self._registry = registry
        self._base = base
        self._insecure = insecure

    def by_name(self) -> dict[str, Act]:
        """Each act under the name that the page posts to."""
        return {
            "request": self.read_request,
            "admit": self.admit,
            "revoke": self.revoke,
            "withdraw": self.withdraw,
            "hold": self.hold,
            "release": self.release,
            "refuse": self.refuse,
            "tune": self.tune,
        }

    def read_request(self, given: Given) -> dict[str, Any]:
        """Who asks, before anything is decided."""
        request = EnrolmentRequest.verified(_text(given, "request").encode())
        return {
            "site": request.site,
            "key": request.site_key.key_id,
            "fingerprint": request.fingerprint,
        }

    def admit(self, given: Given) -> dict[str, Any]:
        """Let a site in; gives the welcome to send back."""
        content = _text(given, "request").encode()
        address, quota = _text(given, "address"), _text(given, "quota", "")
        admission = Admission(
            content, address, self._base, self._insecure, quota or None
        )
        admitted = admit_site(admission, self._registry.home.folder)
        return {
            "site": admitted.request.site,
            "fingerprint": admitted.request.fingerprint,
            "welcome": admitted.welcome.to_bytes().decode(),
            "renewed": admitted.renewed,
        }

    def revoke(self, given: Given) -> dict[str, Any]:
        """Shut a site out, with its concepts or without."""
        keep = bool(given.get("keep_concepts", False))
        self._registry.membership.revoke(_text(given, "site"), keep_concepts=keep)
        return {}

    def withdraw(self, given: Given) -> dict[str, Any]:
        """Leave a concept out of the releases to come."""
        site, concept = _text(given, "site"), _text(given, "concept")
        self._registry.bundles.withdraw(site, concept)
        return {}

    def hold(self, given: Given) -> dict[str, Any]:
        """Put a concept into quarantine."""
        site, concept = _text(given, "site"), _text(given, "concept")
        self._registry.bundles.hold(site, concept, int(time.time()))
        return {}

    def release(self, given: Given) -> dict[str, Any]:
        """Let a held bundle into the releases to come."""
        self._registry.quarantine.release(_text(given, "digest"))
        return {}

    def refuse(self, given: Given) -> dict[str, Any]:
        """Refuse a held bundle for good."""
        self._registry.quarantine.refuse(_text(given, "digest"))
        return {}

    def tune(self, given: Given) -> dict[str, Any]:
        """Order a tuning from one site, or from all."""
        site = _text(given, "site", "")
        orders = order_tuning(
            self._registry,
            _text(given, "concept"),
            (site,) if site else (),
            steps=_number(given, "steps"),
            rank=_number(given, "rank"),
            seed=_number(given, "seed"),
            now=int(time.time()),
        )
        return {"sites": [order.site for order in orders]}


def _text(given: Given, key: str, default: str | None = None) -> str:
    value = given.get(key, default)
    if not isinstance(value, str) or len(value) > _MOST_CHARACTERS:
        raise RegistryError(f"{key}: a text is needed")
    return value


def _number(given: Given, key: str) -> int:
    value = given.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise RegistryError(f"{key}: a whole number from 0 is needed")
    return value
