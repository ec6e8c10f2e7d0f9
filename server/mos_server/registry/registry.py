"""The centre's memory: sites, bundles, refusals, releases, orders to tune.

Every change is one transaction: it happens whole or not at all, whoever else writes at
the same time (`mos-server admit` runs while `mos-server serve` does). What a change
depends on is read again inside its transaction. Files are written before the
transaction that names them commits, and content files are named by their digest: a
crash can leave a file that nothing names, never a name without its file.
"""

from mos_server.registry.bundles import Bundles
from mos_server.registry.home import CentreHome
from mos_server.registry.orders import TuneOrders
from mos_server.registry.published import Published
from mos_server.registry.quarantine import Quarantine
from mos_server.registry.refusals import Refusals
from mos_server.registry.sites.membership import Membership
from mos_server.registry.sites.statements import Statements
from mos_server.registry.storage.database import Database


class Registry:
    """The durable state of one centre; several processes may each have one open."""

    def __init__(self, home: CentreHome) -> None:
        """Open the registry of `home`, or begin it.

        Raises:
            RegistryError: the file is not a registry, or a newer version's.
            StorageError: the home cannot be written.
        """
        self.home = home
        database = Database(home.database_url, lock=home.folder / ".lock")
        self.membership = Membership(database)
        self.bundles = Bundles(home.blobs, database)
        self.quarantine = Quarantine(database)
        self.statements = Statements(database)
        self.refusals = Refusals(home.refused, database)
        self.published = Published(home.releases, database)
        self.orders = TuneOrders(database)
