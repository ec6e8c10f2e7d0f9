"""The errors of a site.

MosError (mos_shared.errors)
└── SiteError                anything the site's user can mend
└── IdentityError        keys or enrolment are missing or wrong
"""

from mos_shared.errors import MosError


class SiteError(MosError):
    """A failure at a site that its user can mend."""


class IdentityError(SiteError):
    """The site's keys or enrolment are missing or wrong."""
