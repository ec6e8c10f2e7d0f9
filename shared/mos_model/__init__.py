"""The model side that both ends need: bases, concepts, prompts, sampling."""

import os

# transformers warns at import of image processors that nothing here uses.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
