"""The errors of the centre.

MosError (mos_shared.errors)
└── CentreError              anything the centre's operator can mend
    └── FusionError          concepts cannot be fused as they stand
"""

from mos_shared.errors import MosError


class CentreError(MosError):
    """A failure at the centre that its operator can mend."""


class FusionError(CentreError):
    """Concepts cannot be fused as they stand."""
