"""The token of a person who may change things, and the sessions of browsers that have given it."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from spade_edge.runtime import UsageError
from spade_edge.tools.line.outputs.secret_file import read_secret

SESSIONS = 32  # at a time; the oldest ends when one more begins
LASTS = 10 * 3600.0  # seconds; a shift
TRIES, EVERY = 5, 10.0  # of one address: so many at once, then one in so many seconds
ALL_TRIES, ALL_EVERY = 30, 2.0  # of all addresses together
ADDRESSES = 1000  # that are remembered


class TooSoonError(UsageError):
    """Too many wrong tokens; `seconds` says when the next may be tried."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong tokens; try again in {max(1, round(seconds))} s")
        self.seconds = max(1, round(seconds))


@dataclass(frozen=True)
class Session:
    """A browser that has given the token.

    Attributes:
        secret: for requests that change something; other sites cannot read it.
        ends: when, by the clock.
        token: SHA-256 of the token that it was opened with; with another token in the file it has ended.
    """

    secret: str
    ends: float
    token: bytes


class Login:
    """Opens and knows sessions. Any thread may use it.

    Args:
        token_file: its first line is the token. It is read at each use, so that it may be changed.
        clock: returns seconds.
    """

    def __init__(self, token_file: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = token_file, clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._tries = _Tries(clock)
        self._lock = Lock()

    def open(self, token: str, *, address: str) -> str:
        """Begin a session, and return the value of its cookie.

        Args:
            token: what the person has typed.
            address: of the browser.

        Raises:
            UsageError: it is the wrong token.
            TooSoonError: too many wrong ones were given.
            OutputError: the token's file cannot be read.
        """
        with self._lock:
            self._tries.check(address)
        expected = read_secret(self._file)
        if not hmac.compare_digest(_digest(token.strip()), _digest(expected)):
            with self._lock:
                self._tries.failed(address)
            raise UsageError("this is not the token")
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[_digest(cookie)] = Session(
                secrets.token_urlsafe(32), self._clock() + LASTS, _digest(expected)
            )
        return cookie

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None if there is none, or it has ended.

        Raises:
            OutputError: the token's file cannot be read.
        """
        key = _digest(cookie)  # a digest is looked up, so the time that it takes tells nothing about the cookie
        with self._lock:
            session = self._sessions.get(key)
        if session is None:
            return None
        if self._clock() >= session.ends or not hmac.compare_digest(session.token, _digest(read_secret(self._file))):
            with self._lock:
                self._sessions.pop(key, None)
            return None
        return session

    def close(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(cookie), None)


class _Tries:
    """How many wrong tokens may still be given: so many at once, and more as time goes by."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address to failures that count, and when
        self._all = (0.0, clock())

    def check(self, address: str) -> None:
        for (count, _), most, every in (
            (self._now(self._of.get(address), EVERY), TRIES, EVERY),
            (self._now(self._all, ALL_EVERY), ALL_TRIES, ALL_EVERY),
        ):
            if count > most - 1:
                raise TooSoonError((count - most + 1) * every)

    def failed(self, address: str) -> None:
        count, at = self._now(self._of.pop(address, None), EVERY)
        self._of[address] = (count + 1, at)
        while len(self._of) > ADDRESSES:
            self._of.popitem(last=False)
        count, at = self._now(self._all, ALL_EVERY)
        self._all = (count + 1, at)

    def _now(self, tries: tuple[float, float] | None, every: float) -> tuple[float, float]:
        now = self._clock()
        count, at = tries or (0.0, now)
        return max(0.0, count - (now - at) / every), now


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
