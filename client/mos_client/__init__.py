"""The site: pictures, tuning, signing, sampling, and the Flower client."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`Studio`, imported when it is first used: commands need not load it."""
    if name == "Studio":
        from mos_client.studio import Studio

        return Studio
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
