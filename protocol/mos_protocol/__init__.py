"""What crosses the wire: signed manifests, bundles, releases, admission rules.

The order everywhere: a signature is verified before what it covers is parsed, a digest
before a tensor is read, every value before anything is stored. Nothing but safetensors
and protobuf is read; torch is not imported.
"""

from mos_protocol.encoding.tensors import TensorFacts, read_table
from mos_protocol.errors import (
    AdmissionError,
    MalformedError,
    ProtocolError,
    Reason,
    ReleaseError,
    SignatureError,
)
from mos_protocol.rules.admission import (
    Admission,
    AdmissionLimits,
    AdmittedBundle,
    KnownSite,
)
from mos_protocol.rules.trust import HeldRelease, ReleaseLimits, ReleaseTrust
from mos_protocol.signed.blob import signature_path
from mos_protocol.signed.bundle import (
    BUNDLE_LIFETIME_SECONDS,
    MAX_BUNDLE_BYTES,
    Bundle,
    BundleFacts,
)
from mos_protocol.signed.enrolment import EnrolmentRequest, Welcome
from mos_protocol.signed.envelope import Sealed, open_envelope, seal
from mos_protocol.signed.keys import SigningKey, VerifyKey, load_key, save_key
from mos_protocol.signed.release import (
    MAX_RELEASE_BYTES,
    RELEASE_LIFETIME_SECONDS,
    Release,
    ReleasedConcept,
    ReleaseFacts,
)

__all__ = [
    "BUNDLE_LIFETIME_SECONDS",
    "MAX_BUNDLE_BYTES",
    "MAX_RELEASE_BYTES",
    "RELEASE_LIFETIME_SECONDS",
    "Admission",
    "AdmissionError",
    "AdmissionLimits",
    "AdmittedBundle",
    "Bundle",
    "BundleFacts",
    "EnrolmentRequest",
    "HeldRelease",
    "KnownSite",
    "MalformedError",
    "ProtocolError",
    "Reason",
    "Release",
    "ReleaseError",
    "ReleaseFacts",
    "ReleaseLimits",
    "ReleaseTrust",
    "ReleasedConcept",
    "Sealed",
    "SignatureError",
    "SigningKey",
    "TensorFacts",
    "VerifyKey",
    "Welcome",
    "load_key",
    "open_envelope",
    "read_table",
    "save_key",
    "seal",
    "signature_path",
]
