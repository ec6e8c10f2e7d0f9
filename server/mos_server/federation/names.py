"""Names of files that the ServerApp and its supervisors share, without Flower."""

from typing import Final

JOURNAL_FILE: Final = "journal.jsonl"
"""Where events are written."""

ALIVE_FILE: Final = "alive"
"""Written every few seconds while the ServerApp runs: its process id."""
