"""The web server in a thread of its own, with bounds for what comes from outside."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from threading import Thread
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from spade_edge.tools.line.outputs.listening import Address
from spade_edge.tools.line.outputs.output import OutputError

CONNECTIONS = 64  # at a time
OF_ONE = 32  # connections of one address
LASTS = 15.0  # seconds that a connection may take for one request and its answer
IDLE = 5  # seconds that a connection may be kept without a request
HEADERS = 16 << 10  # bytes of a request's headers
START = 10.0  # seconds until the server listens


class Bounded(H11Protocol):
    """A connection. Too many of them, and those that are too slow, are closed."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        there = [one.client[0] for one in self.connections if isinstance(one, Bounded) and one.client is not None]
        of_one = there.count(self.client[0]) if self.client is not None else 0
        if len(self.connections) > CONNECTIONS or of_one > OF_ONE:
            transport.abort()
        else:
            self._allow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._allow()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _allow(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LASTS, self.transport.abort)


class Serving:
    """Serves an ASGI application until it is stopped.

    Args:
        app: the application.
        listen: where.
        cert_file, key_file: for https, PEM; None for http.

    Raises:
        OutputError: it cannot listen there, or certificate and key cannot be used.
    """

    def __init__(self, app: Any, *, listen: Address, cert_file: Path | None, key_file: Path | None) -> None:
        config = Config(
            app,
            http=Bounded,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what comes from outside must not fill the journal
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=HEADERS,
            ssl_certfile=cert_file,
            ssl_keyfile=key_file,
            # Without one, an encrypted key would ask for its password on the terminal.
            ssl_keyfile_password="an encrypted key is not used" if cert_file else None,
        )
        try:
            config.load()
        except (OSError, ValueError) as problem:
            raise OutputError(
                f"{cert_file}: expected a certificate and its private key in PEM format, the key without a password, "
                f"found: {getattr(problem, 'reason', None) or getattr(problem, 'strerror', None) or problem}"
            ) from None
        self._socket = _listening(listen)
        self.port: int = self._socket.getsockname()[1]
        self._server = Server(config)
        self._thread = Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def stop(self, *, patience: float = 3.0) -> None:
        """Stop, and free the port."""
        self._server.should_exit = True
        self._thread.join(patience)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _listening(listen: Address) -> socket.socket:
    listen.check_free()  # says why it is not
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    both = listen.host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((listen.host, listen.port), family=family, dualstack_ipv6=both)
    except OSError as problem:
        raise OutputError(f"expected to listen on {listen}, found: {(problem.strerror or '').lower()}") from None
