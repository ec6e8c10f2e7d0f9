"""Names that the SuperNode's process and its supervisor share, without Flower."""

from typing import Final

JOURNAL_VARIABLE: Final = "MOS_JOURNAL"
"""Environment variable: where the process tells what it refused."""

NOT_CONNECTED_FILE: Final = "not-connected"
"""Beside the journal while the centre is not reached: why, in one line."""
