"""What this site lets the centre ask for: HOME/policy.toml, written by its own people.

    [tune]
    max_steps = 400          # optimiser steps of one tuning, at most
    hours = "22-6"           # of this machine's clock; at any time without
    bases = ["mini"]         # which bases, by name or folder; mini alone without

    [tune.data]              # concept -> the folder of its pictures
    rex = "/srv/pictures/rex"

Without the file, or without `[tune]`, nothing is tuned on request. A refusal says which
rule said no, and nothing of this machine: its text goes to the centre. Hours are looked
at last: where they alone say no, the centre is told that it may ask again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mos_client.errors import NotNowError, PolicyError, StoreError
from mos_model.concepts.names import is_name
from mos_protocol.messages import TuneAsk
from mos_runtime.files import read_whole
from mos_runtime.texts import parse_toml

_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-3])-([01]?[0-9]|2[0-4])")
_KEYS: Final = frozenset({"max_steps", "hours", "bases", "data"})


@dataclass(frozen=True)
class Policy:
    """What the centre may ask this site to tune."""

    max_steps: int
    """Optimiser steps of one tuning, at most."""

    data: Mapping[str, Path]
    """Concept -> the folder of its pictures."""

    hours: tuple[int, int] = (0, 24)
    """From the first full hour to the second, over midnight where that is lower."""

    bases: tuple[str, ...] = ("mini",)
    """Names or folders of the bases that may be tuned on."""

    @staticmethod
    def read(path: Path) -> "Policy | None":
        """The policy in a file; None where there is none, or none on tuning.

        Raises:
            StoreError: the file is not a policy.
        """
        if not path.is_file():
            return None
        content = read_whole(path, what="a policy", max_bytes=2**20)
        try:
            told = parse_toml(content.decode()).get("tune")
            return None if told is None else _policy(told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{path}: not a policy: {error}") from error

    def folder_for(self, ask: TuneAsk) -> Path:
        """The pictures that the centre may have tuned on, in some hour.

        Raises:
            PolicyError: a rule says no; which one.
        """
        if ask.steps > self.max_steps:
            raise PolicyError(
                f"{ask.steps} steps; this site allows at most {self.max_steps}"
            )
        if ask.concept not in self.data:
            raise PolicyError(f"this site offers no concept {ask.concept!r:.80}")
        return self.data[ask.concept]

    def check_hour(self, hour: int) -> None:
        """Refuse what is asked outside the hours.

        Args:
            hour: Of this machine's clock, 0 to 23.

        Raises:
            NotNowError: it is outside.
        """
        first, last = self.hours
        inside = first <= hour < last if first < last else not last <= hour < first
        if not inside:
            raise NotNowError(f"this site tunes on request from {first} to {last} h")


def _policy(told: Mapping[str, Any]) -> Policy:
    unknown = sorted(set(told) - _KEYS)
    if unknown:
        raise ValueError(f"[tune] has no {unknown[0]!r:.80}; there are {sorted(_KEYS)}")
    steps, data = told["max_steps"], told.get("data", {})
    hours, bases = str(told.get("hours", "0-24")), told.get("bases", ["mini"])
    match = _HOURS.fullmatch(hours)
    if match is None or match[1] == match[2]:
        raise ValueError(f"hours {hours!r:.80}: write them as 22-6")
    if type(steps) is not int or steps < 1:
        raise ValueError("max_steps: a number above 0 is needed")
    odd = [name for name in data if not is_name(name)]
    if odd:
        raise ValueError(f"[tune.data] {odd[0]!r:.80} is not a concept's name")
    if not isinstance(bases, list) or not all(isinstance(one, str) for one in bases):
        raise ValueError('bases: a list of names, as ["mini"], is needed')
    return Policy(
        max_steps=steps,
        data={name: Path(str(folder)) for name, folder in data.items()},
        hours=(int(match[1]), int(match[2])),
        bases=tuple(bases),
    )
