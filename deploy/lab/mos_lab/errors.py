"""The errors of the laboratory.

MosError (mos_runtime.errors)
└── LabError             anything the person at the laboratory can mend
    ├── SimulationError  a simulation cannot start, or came to nothing
    └── EvaluationError  an evaluation lacks what it is to judge
"""

from mos_runtime.errors import MosError


class LabError(MosError):
    """A failure in the laboratory that its user can mend."""


class SimulationError(LabError):
    """A simulation cannot start, or came to nothing."""


class EvaluationError(LabError):
    """An evaluation lacks what it is to judge."""
