"""Who may ask: only browsers that call this machine by a name of its own, and changes only from its own page.

A page of somebody else's in the same browser may send requests here, but its origin gives it away; and a name of
somebody else's that is made to point here (DNS rebinding) is none of the names of this machine.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from spade_edge.tools.line.outputs.listening import Address

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
ANYONE = ("/health",)  # load balancers ask under names of their own


class Guard:
    """Stands before an ASGI application.

    Args:
        app: the application.
        listen: the address of the configuration.
        hosts: further names of this machine.
    """

    def __init__(self, app: Any, *, listen: Address, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1"} | {_plain(name) for name in hosts}
        if listen.host not in ("", "0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
            self._names.add(_plain(listen.host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                there = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in more if one[0] not in there)]
            await send(message)

        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as problem:
            log.error("page: %s %s: %s", scope["method"], scope["path"][:80], type(problem).__name__)
            if not begun:
                await PlainTextResponse("something went wrong; the log of the service has it\n", 500)(
                    scope, receive, sending
                )

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        host = headers.get("host", [])
        if scope["path"] not in ANYONE and not (len(host) == 1 and self._is_ours(host[0], scope)):
            return PlainTextResponse(
                "this machine is not known by that name; add it to hosts under [page] in the configuration\n", 421
            )
        if scope["method"] in CHANGING:
            origin = headers.get("origin", [])
            site = headers.get("sec-fetch-site", ["same-origin"])
            same = len(origin) == 1 and len(host) == 1 and urlsplit(origin[0]).netloc.lower() == host[0].lower()
            if not same or site != ["same-origin"]:
                return PlainTextResponse("changes are taken from the page itself only\n", 403)
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Whether a Host header names this machine: by a known name, or by the address that was connected to."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port  # reading the port checks it
        except ValueError:
            return False
        if not name or parts.path or parts.query or parts.fragment or parts.username is not None:
            return False
        return _plain(name) in self._names or _is_address(name, (scope.get("server") or ("",))[0])


def _plain(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _is_address(name: str, address: str) -> bool:
    try:
        found, ours = ipaddress.ip_address(name), ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ours.ipv4_mapped if isinstance(ours, ipaddress.IPv6Address) else None
    return found in (ours, mapped)
