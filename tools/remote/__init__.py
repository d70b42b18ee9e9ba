"""Files in object stores, on web servers and in folders, by address.

address     which texts are addresses, and what may be printed of them
store       lists, reads, fetches and writes what lies at an address
"""

from __future__ import annotations

from spade_edge.tools.remote.address import is_address, shown
from spade_edge.tools.remote.store import Listed, MissingError, Store

__all__ = ["Listed", "MissingError", "Store", "is_address", "shown"]
