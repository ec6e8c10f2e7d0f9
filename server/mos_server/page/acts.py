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


def acts(registry: Registry, *, base: str, insecure: bool) -> dict[str, Act]:
    """What a page may ask for, by name.

    Args:
        registry: The centre's.
        base: Of all concepts, as `admit --base` takes it.
        insecure: Whether the centre serves without TLS.
    """

    def read_request(given: Given) -> dict[str, Any]:
        """Who asks, before anything is decided."""
        asked = EnrolmentRequest.verified(_text(given, "request").encode())
        return {
            "site": asked.site,
            "key": asked.site_key.key_id,
            "fingerprint": asked.fingerprint,
        }

    def admit(given: Given) -> dict[str, Any]:
        content = _text(given, "request").encode()
        address, quota = _text(given, "address"), _text(given, "quota", "")
        admission = Admission(content, address, base, insecure, quota or None)
        admitted = admit_site(admission, registry.home.folder)
        return {
            "site": admitted.request.site,
            "fingerprint": admitted.request.fingerprint,
            "welcome": admitted.welcome.to_bytes().decode(),
            "renewed": admitted.renewed,
        }

    def revoke(given: Given) -> dict[str, Any]:
        keep = bool(given.get("keep_concepts", False))
        registry.membership.revoke(_text(given, "site"), keep_concepts=keep)
        return {}

    def withdraw(given: Given) -> dict[str, Any]:
        registry.bundles.withdraw(_text(given, "site"), _text(given, "concept"))
        return {}

    def hold(given: Given) -> dict[str, Any]:
        site, concept = _text(given, "site"), _text(given, "concept")
        registry.bundles.hold(site, concept, int(time.time()))
        return {}

    def release(given: Given) -> dict[str, Any]:
        registry.quarantine.release(_text(given, "digest"))
        return {}

    def refuse(given: Given) -> dict[str, Any]:
        registry.quarantine.refuse(_text(given, "digest"))
        return {}

    def tune(given: Given) -> dict[str, Any]:
        site = _text(given, "site", "")
        orders = order_tuning(
            registry,
            _text(given, "concept"),
            (site,) if site else (),
            steps=_number(given, "steps"),
            rank=_number(given, "rank"),
            seed=_number(given, "seed"),
            now=int(time.time()),
        )
        return {"sites": [order.site for order in orders]}

    return {
        "request": read_request,
        "admit": admit,
        "revoke": revoke,
        "withdraw": withdraw,
        "hold": hold,
        "release": release,
        "refuse": refuse,
        "tune": tune,
    }


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
