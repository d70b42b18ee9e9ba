"""Where lines speak at an MQTT broker, by its address."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from spade_edge.runtime.errors import UsageError

PLAIN, TLS = "mqtt", "mqtts"
PORTS = {PLAIN: 1883, TLS: 8883}
TOPIC = "spade-edge"


@dataclass(frozen=True)
class Place:
    """A broker, and where lines speak there.

    Attributes:
        host, port: of the broker.
        topic: what every topic begins with, as in the outputs of the lines.
        tls: whether the connection is encrypted.
    """

    host: str
    port: int
    topic: str
    tls: bool

    def __str__(self) -> str:
        return f"{TLS if self.tls else PLAIN}://{self.host}:{self.port}/{self.topic}"


def is_broker(source: str) -> bool:
    """Whether a source is a broker."""
    return source.lower().startswith((f"{PLAIN}://", f"{TLS}://"))


def place_of(source: str) -> Place:
    """A broker by its address: mqtt://HOST:PORT/TOPIC, or mqtts:// with TLS; port and topic may be left out.

    Raises:
        UsageError: it is no such address, or has a password in it.
    """
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    topic = unquote(parts.path.strip("/")) or TOPIC
    levels = topic.split("/")
    if not host or port == 0 or parts.query or parts.fragment or topic.startswith("$"):
        raise UsageError(f"expected {PLAIN}://HOST:PORT/TOPIC or {TLS}://HOST:PORT/TOPIC, found another address")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "expected an address without user and password, found one with; give --username and --password-file"
        )
    if any(not level or not level.isprintable() or set(level) & set("+#") for level in levels):
        raise UsageError(
            "expected the first levels of a topic, with / between them, without + and #, found another text"
        )
    scheme = parts.scheme.lower()
    return Place(host, port or PORTS[scheme], topic, scheme == TLS)
