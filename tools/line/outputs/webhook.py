"""Posts each decision as JSON to an HTTP server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event, Timer
from urllib.parse import quote, urlsplit

from spade_edge import __version__
from spade_edge.runtime.errors import UsageError
from spade_edge.tools.line.configuration.options import LineConfiguration, WebhookOptions
from spade_edge.tools.line.decision import Decision
from spade_edge.tools.line.outputs.output import OutputError
from spade_edge.tools.line.outputs.secret_file import read_secret
from spade_edge.tools.line.outputs.tls import client_context
from spade_edge.tools.line.requests import Requests
from spade_edge.tools.line.state import LineState
from spade_edge.tools.tls import fault

LARGEST = 65_536  # bytes of an answer that are read; more ends the connection
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait
WORTH_ANOTHER_TRY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class WebhookOutput:
    """Posts decisions over a connection that is kept.

    A post that fails raises, and the courier calls again, later each time. After as many tries as the options say, or
    at once where the server says that it will never take it, the decision is stale: it is given up and counted.

    Args:
        options: where to post, and how often to try.
        name: of the output.
        line: name of the line.
        configuration: not needed.
        requests: not needed; a server asks for nothing.
        clock: returns seconds.

    Raises:
        UsageError: the address is not one that can be posted to.
    """

    def __init__(
        self,
        options: WebhookOptions,
        *,
        name: str,
        line: str,
        configuration: LineConfiguration,
        requests: Requests | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._clock = options, clock
        what = f"[output.{name}] url"
        try:
            address = urlsplit(options.url)
            host, port = address.hostname, address.port
        except ValueError:
            raise UsageError(f"{what}: expected http://HOST/PATH or https://HOST/PATH, found something else") from None
        if address.scheme not in ("http", "https") or not host:
            raise UsageError(f"{what}: expected http://HOST/PATH or https://HOST/PATH, found something else")
        if "@" in address.netloc:
            raise UsageError(f"{what}: expected no user and password in the address; use token_file")
        target = address._replace(scheme="", netloc="", fragment="").geturl() or "/"
        if not target.startswith("/"):
            target = f"/{target}"
        if not (target.isascii() and target.isprintable() and " " not in target):
            raise UsageError(
                f"{what}: expected an address in ASCII letters without spaces; write others as %20 and so on"
            )
        self._target = target
        self._host, self._port = host, port or (443 if address.scheme == "https" else 80)
        self._encrypted = address.scheme == "https"
        self._where = f"{address.scheme}://{host}:{self._port}"  # without the path, which may hold a secret
        self._connection: HTTPConnection | None = None
        self._headers: dict[str, str] = {}
        self._failing: Decision | None = None
        self._failures = 0
        self._wait_until = 0.0

    def open(self) -> None:
        """Connect, unless the server has asked to wait."""
        if (wait := self._wait_until - self._clock()) > 0:
            raise OutputError(f"{self._where} asks to wait for another {wait:.0f} s")
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"spade-edge/{__version__}",
            "Connection": "keep-alive",
        }
        if self._options.token_file is not None:
            token = read_secret(self._options.token_file)
            if not token.isascii():
                raise OutputError(f"{self._options.token_file}: expected a token in ASCII letters, found others")
            self._headers["Authorization"] = f"Bearer {token}"
        self._connect()

    def send(self, decision: Decision) -> None:
        """Post a decision, if its verdict is among those that are posted; see `Output.send`."""
        if self._options.verdicts and decision.verdict not in self._options.verdicts:
            return
        if decision is not self._failing:
            self._failing, self._failures = decision, 0
        try:
            self._post(decision)
        except OutputError:
            self._failures += 1
            raise
        self._failing = None

    def stale(self, decision: Decision) -> bool:
        """Whether a decision is given up, because it was tried often enough or the server will never take it."""
        return decision is self._failing and self._failures >= self._options.tries

    def beat(self, state: LineState) -> None:
        """Nothing: a server that counts posts gets one for each decision and no others."""

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def test(self, decision: Decision, state: LineState) -> str:
        """Post a test decision."""
        self._wait_until = 0.0
        self.open()
        try:
            began = self._clock()
            status = self._post(decision)
            return f"{self._where} answered {_named(status)} after {1000 * (self._clock() - began):.0f} ms"
        finally:
            self.close()

    def _connect(self) -> HTTPConnection:
        self.close()
        timeout = self._options.timeout_s
        if self._encrypted:
            context = client_context(ca_file=self._options.ca_file)
            connection: HTTPConnection = HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.connect()
        except (OSError, ValueError) as problem:
            connection.close()
            why = fault(problem) if isinstance(problem, OSError) else "not the address of a server"
            raise OutputError(f"expected a server at {self._where}, found none: {why}") from None
        self._connection = connection
        return connection

    def _post(self, decision: Decision) -> int:
        """Post a decision. Returns the status of the answer.

        Raises:
            OutputError: it was not taken.
        """
        body = json.dumps(decision.to_json(), allow_nan=False).encode()
        trigger = decision.trigger
        key = f"{decision.line}/{trigger.camera}/{trigger.number}/{round(1000 * trigger.time)}"
        headers = self._headers | {"Idempotency-Key": quote(key)}
        kept = self._connection is not None
        try:
            try:
                response = self._exchange(self._connection or self._connect(), body, headers)
            except (ConnectionError, HTTPException):
                if not kept:
                    raise
                response = self._exchange(self._connect(), body, headers)  # the server had ended the idle connection
        except TimeoutError:
            raise OutputError(f"expected an answer of {self._where} within {self._options.timeout_s:g} s") from None
        except OSError as problem:
            raise OutputError(f"expected {self._where} to take a decision, found: {fault(problem)}") from None
        except (HTTPException, ValueError) as problem:
            raise OutputError(
                f"expected an answer in HTTP from {self._where}, found another ({type(problem).__name__})"
            ) from None
        self._judge(response)
        return response.status

    def _exchange(self, connection: HTTPConnection, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        """Post something and read the answer, all within the time limit, however slowly it trickles in."""
        overdue = Event()
        timer = Timer(self._options.timeout_s, _shut, [connection.sock, overdue])
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", self._target, body, headers)
            response = connection.getresponse()
            if len(response.read(LARGEST)) == LARGEST or response.will_close:
                self.close()
            if overdue.is_set():
                raise TimeoutError
            return response
        except (OSError, HTTPException, ValueError):
            connection.close()
            self._connection = None
            if overdue.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    def _judge(self, response: HTTPResponse) -> None:
        """Raise if a decision was not taken."""
        status = response.status
        if 200 <= status < 300:
            return
        if status in WORTH_ANOTHER_TRY or status >= 500:
            self._wait_until = self._clock() + min(LONGEST_WAIT, _retry_after(response))
            raise OutputError(f"expected {self._where} to take a decision, found {_named(status)}; it is posted again")
        self._failures = self._options.tries  # `send` adds this one
        if 300 <= status < 400:
            raise OutputError(f"expected {self._where} to take a decision, found {_named(status)}; correct the url")
        raise OutputError(f"expected {self._where} to take a decision, found {_named(status)}; it is given up")


def _retry_after(response: HTTPResponse) -> float:
    """Seconds that the server asks to wait, as a number or a date; 0 if it does not."""
    text = (response.getheader("Retry-After") or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone
        return 0.0


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _shut(connection: socket.socket | None, overdue: Event) -> None:
    overdue.set()  # first, because whoever waits for the connection looks at it then
    if connection is not None:
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, which another thread is using
