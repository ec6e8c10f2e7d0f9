"""The errors of a site.

MosError (mos_model.errors)
└── SiteError            anything the site's user can mend
    ├── IdentityError    keys or enrolment are missing or wrong
    ├── PolicyError      the site's own policy does not allow what the centre asks
    │   └── NotNowError  ... at this hour; at another it would
    ├── StoreError       the outbox or the releases lack something, or are broken
    └── HubError         a model hub refuses an upload, or cannot be reached
"""

from mos_runtime.errors import MosError


class SiteError(MosError):
    """A failure at a site that its user can mend."""


class IdentityError(SiteError):
    """The site's keys or enrolment are missing or wrong."""


class PolicyError(SiteError):
    """The site's policy says no; the text goes to the centre, so it holds no path."""


class NotNowError(PolicyError):
    """Only the hour is wrong: asked again later, the site says yes."""


class StoreError(SiteError):
    """The outbox or the store of releases lacks something, or is broken."""


class HubError(SiteError):
    """A model hub refuses an upload, or cannot be reached."""
