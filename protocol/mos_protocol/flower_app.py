"""The Flower app that a centre submits: its description is all that crosses the wire.

It holds no code and names the components that each end has installed itself; a site
refuses an app that names others. This is the one place where a package names modules
of two others in strings (a test checks that), because the wire carries these names.
"""

from typing import Final

APP_NAME: Final = "mix-of-show"
"""Of the app, and of its publisher."""

SERVER_APP: Final = "mos_server.federation.app:app"
CLIENT_APP: Final = "mos_client.federation.app:app"
