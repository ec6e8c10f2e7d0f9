"""An order of pictures, and how far it is."""

from dataclasses import dataclass, field
from typing import Any

from mos_client.studio.order import Order


@dataclass
class Job:
    """An order and how far it is."""

    id: str
    order: Order
    state: str = "queued"
    """queued, running, done, failed, cancelled, or interrupted: by an earlier end."""

    step: int = 0
    steps: int = 0
    started: float | None = None
    """`time.monotonic` of the first step."""

    seconds_left: float | None = None
    pictures: list[str] = field(default_factory=list)
    """Ids of the pictures written."""

    notes: list[str] = field(default_factory=list)
    error: str = ""
    preview: bytes | None = None
    preview_step: int = 0
    cancel: bool = False

    def shown(self) -> dict[str, Any]:
        """The job as the page has it."""
        return {
            "id": self.id,
            "state": self.state,
            "step": self.step,
            "steps": self.steps,
            "seconds_left": self.seconds_left,
            "pictures": list(self.pictures),
            "notes": list(self.notes),
            "error": self.error,
            "preview_step": self.preview_step if self.preview else 0,
            "prompt": str(self.order.layout.get("prompt", "")),
            "images": self.order.images,
            "order": self.order.to_json() if self.state == "interrupted" else None,
        }
