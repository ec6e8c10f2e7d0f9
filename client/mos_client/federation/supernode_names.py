"""Names that the SuperNode's process and its supervisor share, without Flower."""

from typing import Final

JOURNAL_VARIABLE: Final = "MOS_JOURNAL"
"""Environment variable: the journal's path, where refusals are recorded."""

NOT_CONNECTED_FILE: Final = "not-connected"
"""Next to the journal while the centre is not reached: why, in one line."""
