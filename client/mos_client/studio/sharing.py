"""What leaves this machine when a concept is shared, before and after it is signed."""

import hashlib
import time
from typing import Any

from mos_client.store.enrolment import site_name
from mos_client.store.home import SiteHome
from mos_client.store.outbox import Outbox
from mos_client.studio.files import MissingError
from mos_client.studio.project import Project
from mos_protocol.encoding.header import read_header
from mos_protocol.signed.bundle import (
    BUNDLE_LIFETIME_SECONDS,
    MAX_BUNDLE_BYTES,
    Bundle,
    concept_header,
    hour_of,
)
from mos_runtime.files import read_whole


def leaving(project: Project, home: SiteHome) -> dict[str, Any]:
    """Exactly what sharing a concept would send: its file, and the signed manifest.

    The manifest is signed on trial, so its size is that of the real one, but for the
    digits of its number.

    Raises:
        MissingError: the concept is not tuned yet.
        MosError: it cannot be read or signed.
    """
    content = _content(project)
    header = read_header(content)
    site, now = site_name(home), hour_of(int(time.time()))
    trial = Bundle.sign(
        content,
        site=site,
        counter=1,
        key=home.signing_key(),
        created=now,
        expires=now + BUNDLE_LIFETIME_SECONDS,
    )
    parts: dict[str, list[int]] = {}
    for span in header.spans:
        part = parts.setdefault(span.name.split(".", 1)[0], [0, 0])
        part[0], part[1] = part[0] + 1, part[1] + span.end - span.begin
    return {
        "site": site,
        "says": concept_header(header),
        "tensors": [
            {"part": part, "count": count, "bytes": size}
            for part, (count, size) in sorted(parts.items())
        ],
        "file_bytes": len(content),
        "manifest_bytes": len(trial.to_bytes()) - len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "signer": home.signing_key().public.key_id,
        "shared": _shared(project, home),
    }


def share(project: Project, home: SiteHome) -> dict[str, Any]:
    """Sign a concept into the outbox, as `mos-client share` does.

    Raises:
        MissingError: the concept is not tuned yet.
        MosError: it cannot be signed.
    """
    entry = Outbox(home).put(_content(project), site_name(home))
    return {"bytes": entry.bytes, "digest": entry.digest, "file": str(entry.path)}


def _content(project: Project) -> bytes:
    if not project.concept.is_file():
        raise MissingError(f"<{project.name}> is not tuned yet")
    return read_whole(project.concept, what="a concept", max_bytes=MAX_BUNDLE_BYTES)


def _shared(project: Project, home: SiteHome) -> str:
    """Whether this very file is signed already: "", "waiting" or "accepted"."""
    content, outbox = _content(project), Outbox(home)
    for state, entries in (("waiting", outbox.entries()), ("accepted", outbox.sent())):
        for entry in entries:
            if entry.concept == project.name and entry.path.read_bytes() == content:
                return state
    return ""
