"""One store for each bucket, server or folder that the images of a dataset lie in."""

from __future__ import annotations

import threading

from spade_edge.tools.remote import Store, divided


class Stores:
    """Stores by their address, made when they are first asked for, by whichever thread."""

    def __init__(self) -> None:
        self._known: dict[str, Store] = {}
        self._lock = threading.Lock()

    def of(self, address: str) -> tuple[Store, str]:
        """The store that has the file at an address, and the name of the file in it.

        Raises:
            UsageError, DeviceError, DataError: as for `Store`.
        """
        top, name = divided(address)
        if not name:  # a web address with a query, which stands for itself
            return Store(top), name
        with self._lock:
            if top not in self._known:
                self._known[top] = Store(top)
            return self._known[top], name
