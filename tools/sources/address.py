"""Addresses of streams: what FFmpeg is given, and what may be printed. A password is never printed.

People write the password into the address as it is, with any character in it, so an address is read with care:

    rtsp://admin:a/b?c#d@192.168.0.20:554/stream?channel=1
           user  password host        port path
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from spade_edge.runtime import UsageError
from spade_edge.runtime.legible import legible

HIDDEN = "…"
PIPE = " ! "  # only a GStreamer pipeline contains it
HOSTLESS = ("udp", "tcp")  # they can listen
LARGEST_PORT = 65535

_ENDS = re.compile(r"[/?#]")
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME_OF_LOGIN = (
    r"(?:[A-Za-z0-9]*[-_.]?)?(?:user(?:name|[-_]?id|[-_]?pw)?|usr|login|proxy[-_](?:id|pw)|pass(?:word|wd|phrase)?|pwd|psw|"
    r"pw|(?:\w*[-_])?token|(?:\w*[-_]?)?key|secret|auth(?:orization)?|credentials?|sig(?:nature)?)"
)
_SECRET = re.compile(
    rf"(?<![A-Za-z0-9])({_NAME_OF_LOGIN})(\s*(?:=|%3[Dd])\s*(?:\([a-z]+\)\s*)?)"
    r"""("(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^\s&;,!'")]+)"""
)
_USER_AND_PASSWORD = re.compile(  # up to the last @ of a word; with spaces within, where no port follows the colon
    r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})(?:\S*@|[^\s/@:]*:(?!\d{1,5}(?:[/\s:;,]|$))(?=\S)[^@\n]*@)"
)
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3}[^\s?#'\"]*)[?#][^\s'\"]*")
_LIKE_AN_ADDRESS = re.compile(
    r"[\s'\"<(]*(?P<scheme>(?:rtsps?|https?|udp|tcp)(?=\s*[:/])|[A-Za-z][A-Za-z0-9+.-]+(?=\s*:\s*//?))[\s:/\\]*", re.I
)
_LIKE_A_LOGIN = re.compile(r"[^/\s:@]+:.*@[^/]", re.S)


@dataclass(frozen=True)
class Address:
    """The address of a network stream.

    Attributes:
        scheme: in lower case.
        user: as written; None if there is none.
        password: as written; None if there is none.
        host: a name or IP address, IPv6 in brackets; empty where a program listens.
        port: None if there is none.
        path: everything behind, with the query.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address.

        Raises:
            UsageError: it cannot be read; the message does not repeat it.
        """
        scheme, _, rest = text.partition("://")
        scheme = scheme.lower()
        if not text.isprintable():
            raise UsageError(f"{scheme}://{HIDDEN}: expected an address without control characters, found some")
        login, place, path = _divided(rest)
        found = _HOST.fullmatch(place)
        host, digits = (found["host"], found["port"]) if found else (place, None)
        port = int(digits) if digits and len(digits) <= 5 else None
        if found is None or (digits and not (port and port <= LARGEST_PORT)):
            raise UsageError(
                f"{scheme}://{HIDDEN}: expected host:port, with a port from 1 to {LARGEST_PORT}, found something else; "
                f"in a user name or password, write / ? # @ : % as %2F %3F %23 %40 %3A %25"
            )
        named = _host(host)
        if named is None or not (named or scheme in HOSTLESS):
            raise UsageError(
                f"{scheme}://{HIDDEN}: expected the name or IP address of a host, as in {scheme}://192.168.0.20/live, "
                + ("found something else" if host else "found none")
            )
        user, colon, password = login.partition(":")
        return cls(scheme, user or None, password if colon else None, named, port, path)

    @property
    def encoded(self) -> str:
        """The address as RFC 3986 wants it, with user and password."""
        login = ""
        if self.user is not None or self.password is not None:
            login = _encoded(self.user or "") + ("" if self.password is None else f":{_encoded(self.password)}") + "@"
        port = "" if self.port is None else f":{self.port}"
        path = quote(self.path, safe="".join(map(chr, range(0x21, 0x7F))))
        return f"{self.scheme}://{login}{self.host}{port}{path}"

    @property
    def anonymous(self) -> str:
        """The address without user and password, to be opened."""
        return Address(self.scheme, None, None, self.host, self.port, self.path).encoded

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password, decoded; None if there are none."""
        if self.user is None and self.password is None:
            return None
        return unquote(self.user or ""), unquote(self.password or "")


def looks_like_address(text: str) -> bool:
    """Whether a text that names no file was perhaps meant as an address, such as rtsp:/host or user:password@host."""
    return _LIKE_AN_ADDRESS.match(text) is not None or _LIKE_A_LOGIN.match(text) is not None


def printable(source: str) -> str:
    """A source as it may be printed: an address without user, password and query, a pipeline by its first element.

    Args:
        source: any text that was given as a source, also one that cannot be read.
    """
    if source.isascii() and source.isdecimal():
        return f"camera {source}"
    if PIPE in source:
        element = source.partition(PIPE)[0].split(maxsplit=1)[:1]
        return " ".join(["pipeline", *(name for name in element if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name))])
    found = _LIKE_AN_ADDRESS.match(source)
    if found:
        return f"{found['scheme']}://{_place(source[found.end() :])}"
    if _LIKE_A_LOGIN.match(source):
        return _place(source)
    return legible(source)


def without_login(argument: str) -> str:
    """An argument as it may be printed, which perhaps was meant as a source."""
    return printable(argument) if looks_like_address(argument) or PIPE in argument else argument


def without_secrets(text: str) -> str:
    """A message without the passwords that addresses or settings within it contain."""
    text = _USER_AND_PASSWORD.sub(r"\1", text)
    text = _QUERY.sub(r"\1", text)
    return _SECRET.sub(rf"\1\2{HIDDEN}", text)


def _place(rest: str) -> str:
    """Host and path, without what may be secret in them."""
    rest = rest.rpartition("@")[2].strip(" '\"/<>()")
    rest = re.split(r"[?#;&]", rest, maxsplit=1)[0]
    place, *segments = rest.split("/")
    shown, hide = [legible(place) if _HOST.fullmatch(place) and "=" not in unquote(place) else HIDDEN], False
    for segment in segments:
        plain = unquote(segment)
        shown.append(HIDDEN if hide or "=" in plain or ":" in plain else legible(segment))
        hide = re.fullmatch(_NAME_OF_LOGIN, plain, re.I) is not None
    return "/".join(shown)


def _divided(rest: str) -> tuple[str, str, str]:
    """User and password, host and port, path, of what follows ://.

    By RFC 3986 a user or password cannot contain / ? # or @. Where the address makes no sense by that rule, or where an
    IP address or a full host name follows a later @, the later @ ends the password.
    """
    end = _end(rest)
    login, at, place = rest[:end].rpartition("@")
    later = [found.start() for found in re.finditer("@", rest) if found.start() >= end]
    strong = [start for start in later if _is_full(_until(rest, start + 1))]
    if strong and not _is_full(place) and (at or ":" in place):
        start = strong[-1]
    elif later and not _is_valid(place):
        start = strong[-1] if strong else later[-1]
    else:
        return login, place, rest[end:]
    place = _until(rest, start + 1)
    return rest[:start], place, rest[start + 1 + len(place) :]


def _end(text: str, start: int = 0) -> int:
    found = _ENDS.search(text, start)
    return found.start() if found else len(text)


def _until(text: str, start: int) -> str:
    return text[start : _end(text, start)]


def _is_valid(place: str) -> bool:
    """Whether this is a host with or without a port."""
    found = _HOST.fullmatch(place)
    return found is not None and bool(_host(found["host"])) and int(found["port"] or 1) <= LARGEST_PORT


def _is_full(place: str) -> bool:
    """Whether this is an IP address, localhost or a host name with a domain, and a port or none."""
    found = _HOST.fullmatch(place)
    host = _host(found["host"]) if found and _is_valid(place) else None
    if not host:
        return False
    if host.startswith("[") or host == "localhost":
        return True
    last = host.rpartition(".")[2]
    return "." in host and ((host.replace(".", "").isdigit() and host.count(".") == 3) or last.isalpha())


def _host(host: str) -> str | None:
    """A host as FFmpeg wants it, international names in ASCII; None if it cannot be one."""
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1].replace("%25", "%"))
        except ValueError:
            return None
        return host
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    labels = name.removesuffix(".").split(".")
    return name if not name or all(_LABEL.fullmatch(label) for label in labels) else None


def _encoded(part: str) -> str:
    """A user name or password in percent code. One that is written in it already stays as it is."""
    return quote(_BARE_PERCENT.sub("%25", part), safe="%!$&'()*+,;=~")
