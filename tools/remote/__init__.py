"""Files in object stores, on web servers and in folders, by address.

address        which texts are addresses, how they are put together, and what may be printed of them
files          what a store asks of a kind of place
folder         files on this machine, with the standard library alone
filesystem     files elsewhere; the only module that imports fsspec
retrying       tries again what may go well the next time
store          lists, reads, fetches and writes what lies at an address
"""

from __future__ import annotations

from spade_edge.tools.remote.address import divided, is_address, is_name, joined, local_path, shown
from spade_edge.tools.remote.files import Listed
from spade_edge.tools.remote.retrying import UnreachableError, retried
from spade_edge.tools.remote.store import MissingError, Store

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
    "retried",
    "shown",
]
