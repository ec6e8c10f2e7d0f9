"""The errors of the centre.

MosError (mos_runtime.errors)
└── CentreError          anything the centre's operator can mend
    ├── FusionError      concepts cannot be fused as they stand
    │   ├── LedgerError  a ledger is damaged, or of another base or other settings
    │   ├── UnfusableError   one bundle cannot be fused; carries its digest
    │   ├── HeldError        the gate holds one bundle; carries its digest
    │   └── SupersededError  a bundle was replaced while it was to be fused
    ├── RegistryError    the registry is broken, or says no to a change
    ├── CertificateError TLS certificates cannot be made or read
    └── ServingError     the federation cannot be started or kept up
"""

from mos_runtime.errors import MosError


class CentreError(MosError):
    """A failure at the centre that its operator can mend."""


class FusionError(CentreError):
    """Concepts cannot be fused as they stand."""


class LedgerError(FusionError):
    """A ledger is damaged, or belongs to another base or to other settings."""


class UnfusableError(FusionError):
    """One bundle cannot be fused; the others can without it."""

    def __init__(self, digest: str, text: str) -> None:
        """The bundle of `digest`, for the reason `text`."""
        super().__init__(text)
        self.digest = digest


class HeldError(FusionError):
    """A release with one bundle in it changes what it must not."""

    def __init__(self, digest: str, text: str) -> None:
        """The bundle of `digest`, for the reason `text`."""
        super().__init__(text)
        self.digest = digest


class SupersededError(FusionError):
    """A bundle was replaced or withdrawn while it was to be fused; begin again."""


class RegistryError(CentreError):
    """The registry cannot be read, or refuses a change."""


class CertificateError(CentreError):
    """TLS certificates cannot be made or read."""


class ServingError(CentreError):
    """The federation cannot be started or kept up."""
