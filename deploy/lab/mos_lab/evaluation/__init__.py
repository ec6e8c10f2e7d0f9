"""The paper's protocol: what concepts keep, alone, fused, and side by side.

Image alignment and text alignment as in Mix-of-Show (arXiv:2305.18292, section 4), and
beside every figure of identity the drift of the base: identity is easily kept by a
model that can draw nothing else any more.
"""

from mos_lab.evaluation.run import evaluate
from mos_lab.evaluation.tables import Evaluation

__all__ = ["Evaluation", "evaluate"]
