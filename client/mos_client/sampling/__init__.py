"""Pictures from what a site has: a request, its plan, the pictures.

`sample(request, callback)` is what `mos-client sample` does, for programs: all that can
be refused is refused before the base is loaded, and every picture is written when it is
finished.
"""

from mos_client.sampling.request import SampleRequest
from mos_client.sampling.run import Sampled, SamplingStep, sample

__all__ = ["SampleRequest", "Sampled", "SamplingStep", "sample"]
