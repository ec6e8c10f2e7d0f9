"""The centre's page: who sends what, what fusion makes of it, the operator's buttons.

`view` reads the registry, `acts` does what the operator's commands do, by the same
functions; `app` serves both. The page reads what `mos-server serve` writes, and is a
process of its own. Importing this package loads no model.
"""

from mos_server.page.app import PageSettings, centre_app

__all__ = ["PageSettings", "centre_app"]
