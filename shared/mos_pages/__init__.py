"""What the web pages of sites and centres share: guard, server, look.

`guard` decides who may come in, `entry` is the way in, `serving` runs one server, and
`page/` holds the design (`page.css`) and the calls (`api.js`) of both pages.
"""

from mos_pages.entry import PAGE, TooLargeError, body, new_app
from mos_pages.guard import Access, Guard, Keys, refused
from mos_pages.serving import Page, serve

__all__ = [
    "PAGE",
    "Access",
    "Guard",
    "Keys",
    "Page",
    "TooLargeError",
    "body",
    "new_app",
    "refused",
    "serve",
]
