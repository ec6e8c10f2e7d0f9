"""The studio: draw a layout, sample it, keep what came of it.

`Studio` is its Python API; `mos-client studio` serves a page over the same methods.
Importing this package loads no model.
"""

from mos_client.studio.studio import Studio

__all__ = ["Studio"]
