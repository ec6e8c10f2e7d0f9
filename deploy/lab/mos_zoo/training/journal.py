"""What training prints: lines on the terminal and in a file, with running averages."""

import time
from pathlib import Path
from typing import Final

_FORGET: Final = 0.02


class Journal:
    """Says lines, and averages figures between them."""

    def __init__(self, path: Path | None = None) -> None:
        """Lines go to the terminal, and to the end of `path` where given."""
        self._path = path
        self._averages: dict[str, float] = {}

    def say(self, line: str) -> None:
        """One line, with the time of day."""
        stamped = f"{time.strftime('%H:%M:%S')} {line}"
        print(stamped, flush=True)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(stamped + "\n")
        except OSError:
            return  # a full disk shall not end the training

    def gather(self, figures: dict[str, float]) -> None:
        """Take one step's figures into the averages."""
        for name, value in figures.items():
            before = self._averages.setdefault(name, value)
            self._averages[name] = before + _FORGET * (value - before)

    def averages(self) -> str:
        """The averages as text."""
        return " ".join(f"{name} {value:.4f}" for name, value in self._averages.items())
