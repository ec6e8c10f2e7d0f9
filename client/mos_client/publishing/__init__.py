"""A concept or a release as a folder for a model hub, and the way there."""

from mos_client.publishing.hub import Hub
from mos_client.publishing.request import PublishRequest
from mos_client.publishing.run import Published, publish

__all__ = ["Hub", "PublishRequest", "Published", "publish"]
