"""What the outputs of a line need of the network: brokers that answer, and ports that are free."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import ssl
from urllib.parse import urlsplit

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding
from spade_edge.tools.doctor.mqtt_login import login
from spade_edge.tools.doctor.storage import first_line
from spade_edge.tools.line.configuration.options import MqttOptions, WebhookOptions
from spade_edge.tools.tls import fault, identify, trusting

WITHIN = 5.0  # seconds for each step of a connection
EVERY = ("0.0.0.0", "::", "")  # noqa: S104


def mqtt(kind: str, name: str, options: MqttOptions) -> list[Finding]:
    """Resolve, connect, encrypt and log in."""
    port = options.port or (8883 if options.tls else 1883)
    place = f"{options.host} port {port}"
    try:
        context = trusting(options.ca_file) if options.tls else None
        if context is not None and options.cert_file is not None:
            identify(context, cert_file=options.cert_file, key_file=options.key_file)
        with _connected(options.host, port, context) as connection:
            refused = login(
                connection,
                client=f"spade-edge-doctor-{secrets.token_hex(4)}",
                username=options.username,
                password=first_line(options.password_file) or "" if options.password_file else "",
            )
            how = _encryption(connection)
    except (OSError, ValueError) as problem:
        return [Finding(kind, name, PROBLEM, f"{place}: {_words(problem)}", _remedy(problem, "the broker"))]
    if refused:
        return [Finding(kind, name, PROBLEM, f"{place}: {refused}", "check the broker's users and its log")]
    who = f" as {options.username}" if options.username else ""
    findings = [Finding(kind, name, OK, f"{place} lets this client in{who}{how}")]
    if options.username and not options.tls and not is_local(options.host):
        found = "the password goes through the network as it is"
        findings.append(Finding(kind, f"{name} encryption", NOTE, found, "set tls = true, or keep the network apart"))
    return findings


def webhook(kind: str, name: str, options: WebhookOptions) -> list[Finding]:
    """Resolve, connect and encrypt. Nothing is posted: that would be a decision to the server."""
    parts = urlsplit(options.url)
    host, encrypted = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if encrypted else 80)
    place = f"{host} port {port}"
    try:
        context = trusting(options.ca_file) if encrypted else None
        with _connected(host, port, context) as connection:
            how = _encryption(connection)
    except (OSError, ValueError) as problem:
        return [Finding(kind, name, PROBLEM, f"{place}: {_words(problem)}", _remedy(problem, "the server"))]
    findings = [Finding(kind, name, OK, f"{place} answers{how}; nothing was posted, 'spade-edge run --test' does that")]
    if options.token_file is not None and not encrypted and not is_local(host):
        found = "the token goes through the network as it is"
        findings.append(Finding(kind, f"{name} encryption", NOTE, found, "use https://, or keep the network apart"))
    return findings


def listening(kind: str, name: str, listen: str, *, open_to_all: str) -> list[Finding]:
    """Whether a server may listen at an address, and who can reach it.

    Args:
        kind: of the finding.
        name: of the finding.
        listen: "HOST:PORT".
        open_to_all: what everybody in the network may do there; "" for nothing.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, int(port), family, socket.SOCK_STREAM)
        socket.create_server((host, int(port)), family=family).close()
    except (OSError, UnicodeError) as problem:
        found, remedy = _cannot_listen(problem)
        return [Finding(kind, name, PROBLEM, f"{listen}: {found}", remedy)]
    findings = [Finding(kind, name, OK, f"{listen} is free")]
    if open_to_all and not is_local(host):
        found = f"everybody who reaches {listen} may {open_to_all}"
        findings.append(
            Finding(kind, f"{name} access", NOTE, found, "listen at 127.0.0.1, or let only the controllers' network in")
        )
    return findings


def is_local(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host in EVERY:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connected(host: str, port: int, context: ssl.SSLContext | None) -> socket.socket:
    """A connection, encrypted where there is a context."""
    connection = socket.create_connection((host, port), timeout=WITHIN)
    if context is None:
        return connection
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def _encryption(connection: socket.socket) -> str:
    return f" with {connection.version()}" if isinstance(connection, ssl.SSLSocket) else ""


def _words(problem: OSError | ValueError) -> str:
    """What went wrong with a connection."""
    if isinstance(problem, (socket.gaierror, UnicodeError)):
        return "no address is known for this name"
    if isinstance(problem, TimeoutError):
        return f"no answer within {WITHIN:g} s"
    if isinstance(problem, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(problem, OSError):
        return fault(problem)
    return str(problem) or type(problem).__name__


def _remedy(problem: OSError | ValueError, whom: str) -> str:
    if isinstance(problem, (socket.gaierror, UnicodeError)):
        return "check the name, and the name server of this machine (resolvectl query NAME)"
    if isinstance(problem, ConnectionRefusedError):
        return f"is {whom} running, and is this its port?"
    if isinstance(problem, (ssl.SSLError, ValueError, FileNotFoundError, PermissionError)):
        return "check ca_file, cert_file and key_file, the name in the server's certificate, the clock, and the port"
    return f"is {whom} on, is this its port, with or without TLS, and does a firewall let this machine through?"


def _cannot_listen(problem: OSError | UnicodeError) -> tuple[str, str]:
    """Why no server can listen, and what to do."""
    number = problem.errno if isinstance(problem, OSError) else None
    if number == errno.EADDRINUSE:
        return "another program listens there", "is the line running already? Else choose another port"
    if number in (errno.EACCES, errno.EPERM):
        return (
            "this user may not listen there",
            "choose a port from 1024 on, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    if number == errno.EADDRNOTAVAIL or isinstance(problem, (socket.gaierror, UnicodeError)):
        return "this machine does not have this address", "write one that 'ip address' shows, 127.0.0.1 or 0.0.0.0"
    return os.strerror(number or 0).lower(), "choose another address"
