"""Names that the SuperNode's process and its supervisor share, without Flower."""

from typing import Final

JOURNAL_VARIABLE: Final = "MOS_JOURNAL"
"""Environment variable: where the process tells what it refused."""
