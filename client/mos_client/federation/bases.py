"""Which base, of those on this machine, the federation uses."""

from pathlib import Path

from mos_client.federation.policy import Policy
from mos_client.store.home import SiteHome
from mos_model.bases.base_files import read_inventory
from mos_model.bases.inventory import Inventory
from mos_runtime.errors import MosError


def inventory_here(home: SiteHome, base: str) -> Inventory | None:
    """Names and shapes of a base, for the checks of a release.

    Args:
        home: Whose policy may name further bases.
        base: Fingerprint of the base, 64 hexadecimal digits.

    Returns:
        From `mini`, or from a folder that the policy names; None where the base is
        neither, or cannot be read. Nothing is fetched from a hub.
    """
    names = ["mini"]
    try:
        policy = Policy.read(home.policy_path)
        names += policy.bases if policy is not None else ()
    except MosError:
        pass  # an order to tune says what is wrong with it
    for name in dict.fromkeys(names):
        if name != "mini" and not Path(name).expanduser().is_dir():
            continue
        try:
            found = read_inventory(name)
        except MosError:
            continue
        if found.base == base:
            return found
    return None
