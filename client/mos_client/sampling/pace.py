"""When previews are due."""

from dataclasses import dataclass


@dataclass
class PreviewPace:
    """Every so many steps, and with rests between so that sampling is not held up."""

    every: int | None
    """Steps between previews; None is without."""

    share: float | None = None
    """Seconds of previews for each second of sampling at most, counted from the first
    one; None is without a bound."""

    _rest_until: float = 0.0

    def due(self, step: int, now: float) -> bool:
        """Whether a step of a batch is shown.

        Args:
            step: Steps of the batch that are made, from 1.
            now: Of a clock that never goes back, seconds.
        """
        if not self.every or step % self.every:
            return False
        return now >= self._rest_until

    def shown(self, begun: float, ended: float) -> None:
        """A preview took from `begun` to `ended`, seconds of the same clock."""
        if self.share is not None:
            self._rest_until = ended + (ended - begun) / self.share
