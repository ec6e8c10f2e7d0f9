"""What came of a simulation; OUT/simulation.json holds the same."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mos_lab.errors import SimulationError
from mos_runtime.errors import StorageError
from mos_runtime.files import read_whole, write_atomically

OUTCOME_FILE: Final = "simulation.json"
_SCHEMA: Final = "mos-simulation/1"


@dataclass(frozen=True)
class SiteOutcome:
    """What one site did."""

    site: str
    pictures: int
    """How many it tuned on."""

    concept: str
    """The concept's name; "" where the site tuned none."""

    class_word: str
    concept_file: str
    """The concept, a safetensors file, relative to the simulation's folder; "" where
    there is none. Its signature is next to it."""

    accepted: bool
    reason: str
    """Why the site brought no concept into the release; "" where it did."""

    bytes_sent: int
    """All values and blobs of all its messages to the centre."""

    bytes_received: int
    """The releases that it took up."""

    tune_seconds: float
    release: int
    """Version of the release it holds; 0 for none."""


@dataclass(frozen=True)
class SimulationOutcome:
    """What came of a simulation."""

    base: str
    seed: int
    steps: int | None
    """As asked for; None: the base's own number."""

    sites: tuple[SiteOutcome, ...]
    release: int
    """Version of the newest release."""

    release_file: str
    """The release, a safetensors file, relative to the simulation's folder. Its
    signature is next to it."""

    release_bytes: int
    concepts: tuple[str, ...]
    """`site/concept` of all that the release holds."""

    seconds: Mapping[str, float]
    """Wall time by phase: `start`, `tune` (all sites), `verify` (from the last tuned
    concept to the last verdict), `fuse`, `deliver`, and `total`."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"schema": _SCHEMA, **asdict(self), "seconds": dict(self.seconds)}

    def write(self, folder: Path) -> None:
        """Write OUT/simulation.json.

        Raises:
            StorageError: it cannot be written.
        """
        content = json.dumps(self.to_dict(), indent=1, sort_keys=True).encode()
        write_atomically(folder / OUTCOME_FILE, content + b"\n")

    @staticmethod
    def read(folder: Path) -> "SimulationOutcome":
        """The outcome of a finished simulation.

        Raises:
            SimulationError: there is none, or not one of this version.
        """
        path = folder / OUTCOME_FILE
        try:
            facts = json.loads(read_whole(path, what="a simulation's outcome"))
            if facts.pop("schema") != _SCHEMA:
                raise ValueError("another schema")
            sites = tuple(SiteOutcome(**site) for site in facts.pop("sites"))
            concepts = tuple(facts.pop("concepts"))
            return SimulationOutcome(sites=sites, concepts=concepts, **facts)
        except (StorageError, ValueError, KeyError, TypeError) as error:
            raise SimulationError(f"{path}: no finished simulation: {error}") from error
