"""Files in object stores, on web servers and in folders, by address.

address        which texts are addresses, how they are put together, and what may be printed of them
files          what a store asks of a kind of place
folder         files on this machine, with the standard library alone
filesystem     files elsewhere; the only module that imports fsspec
store          lists, reads, fetches and writes what lies at an address; tries again what may pass
"""

from __future__ import annotations

from spade_edge.tools.remote.address import divided, is_address, is_name, joined, local_path, shown
from spade_edge.tools.remote.files import Listed
from spade_edge.tools.remote.store import MissingError, Store, UnreachableError

__all__ = [
    "Listed",
    "MissingError",
    "Store",
    "UnreachableError",
    "divided",
    "is_address",
    "is_name",
    "joined",
    "local_path",
    "shown",
]
