"""Opening a registry by its address."""

from __future__ import annotations

import re

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.registry.objects import ObjectRegistry
from spade_edge.tools.registry.oci import OCI, OciRegistry
from spade_edge.tools.registry.registry import Registry
from spade_edge.tools.remote import shown

# What people write who have forgotten oci:// or a slash of it: a port, or the name of a kind of address. A drive of
# Windows is one letter.
_MEANT = re.compile(r"oci:.*|(?:[a-z0-9-]+\.)*[a-z0-9-]{2,}:[0-9]{1,5}(?:/.*)?", re.I)


def open_registry(address: str, *, plain_http: bool = False) -> Registry:
    """The registry at an address: `oci://host:port/path`, or a folder or address of an object store.

    Args:
        address: of the registry.
        plain_http: talk to an OCI registry without encryption; on this machine that is done anyway.

    Raises:
        UsageError: no such kind of address.
        DeviceError: a package is not installed.
    """
    if address.lower().startswith(OCI):
        return OciRegistry(address, plain_http=plain_http)
    if plain_http:
        raise UsageError("expected --plain-http with an address that begins with oci://, found another kind of address")
    if _MEANT.fullmatch(address):
        raise UsageError(
            f"expected a folder, or an address such as oci://registry.plant:5000/spade, found {shown(address)!r}; "
            "write oci:// before it, or ./ before the name of a folder"
        )
    return ObjectRegistry(address)
