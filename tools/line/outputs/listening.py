"""An address to listen on, as the configuration has it, and whether it is free."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from spade_edge.runtime import UsageError
from spade_edge.tools.line.outputs.output import OutputError


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: name or address of this machine; "" for all of its addresses.
        port: 0 for any that is free.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "HOST:PORT" or "[IPv6]:PORT".

        Raises:
            UsageError: it is neither.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if not colon or not (port.isascii() and port.isdecimal() and int(port) <= 65_535):
            raise UsageError(f"listen: expected HOST:PORT such as 127.0.0.1:5020, found '{text[:80]}'")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def nearby(self) -> Address:
        """How this machine itself reaches the server."""
        return Address({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104

    def check_free(self) -> None:
        """Bind to it once, because the libraries do not say why they cannot.

        Raises:
            OutputError: no server can listen there.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as problem:
            raise OutputError(f"expected to listen on {self}, found: {_cause(problem)}") from None


def _cause(problem: OSError) -> str:
    """Why an address cannot be bound, and what to do."""
    if problem.errno == errno.EADDRINUSE:
        return "another program listens there, perhaps this line itself; stop it or choose another port"
    if problem.errno == errno.EACCES:
        return "ports below 1024 need a permission; choose another one or give AmbientCapabilities=CAP_NET_BIND_SERVICE"
    if problem.errno == errno.EADDRNOTAVAIL or (problem.errno or 0) < 0:  # negative: the name has no address
        return "no network interface of this machine has this address; see 'ip address'"
    return (problem.strerror or str(problem)).partition(" (while")[0].lower()  # what follows is Python's
