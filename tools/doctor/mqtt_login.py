"""Logs in at an MQTT 5 broker and out again: one packet each way, so that no client library is needed.

Source of the bytes: MQTT version 5.0, OASIS standard, sections 3.1 (CONNECT), 3.2 (CONNACK) and 3.14 (DISCONNECT).
"""

from __future__ import annotations

import socket

CONNECT, CONNACK, DISCONNECT = 0x10, 0x20, 0xE0
VERSION = 5
CLEAN, PASSWORD, USERNAME = 0x02, 0x40, 0x80  # connect flags
LARGEST = 64 * 1024  # bytes of an answer

REASONS = {  # 3.2.2.2
    0x84: "it does not know MQTT 5",
    0x85: "it does not allow this client id",
    0x86: "it refuses this user name or password",
    0x87: "it does not let this client in",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "it has banned this client",
    0x8C: "it wants another kind of login",
    0x97: "it has no room for another client",
    0x9C: "it sends clients to another server",
    0x9D: "it has moved to another server",
    0x9F: "it limits connections",
}


def login(connection: socket.socket, *, client: str, username: str = "", password: str = "") -> str:
    """Log in and out.

    Args:
        connection: open, with a time limit.
        client: name that no other client has.
        username: "" for none.
        password: of the user.

    Returns:
        why the broker refuses; "" if it does not.

    Raises:
        OSError: the connection breaks, or does not answer in time.
    """
    flags = CLEAN | ((USERNAME | PASSWORD) if username else 0)
    body = _text("MQTT") + bytes([VERSION, flags, 0, 10, 0]) + _text(client)  # 10 s keep alive, no properties
    if username:
        body += _text(username) + _text(password)
    connection.sendall(_packet(CONNECT, body))
    kind = _exactly(connection, 1)[0]
    answer = _exactly(connection, _length(connection))
    if kind != CONNACK or len(answer) < 2:
        return "it does not speak MQTT"
    code = answer[1]
    if code >= 0x80:
        return REASONS.get(code, f"it refuses with the reason 0x{code:02X}")
    if len(answer) == 2:  # the two bytes of MQTT 3.1.1, whose refusals are 1 to 5
        return REASONS[0x84]
    connection.sendall(_packet(DISCONNECT, b""))
    return ""


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def _packet(kind: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([kind])
    while True:  # 1.5.5, seven bits in each byte
        length, seven = divmod(length, 128)
        head.append(seven | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def _length(connection: socket.socket) -> int:
    length = 0
    for shift in (0, 7, 14, 21):
        byte = _exactly(connection, 1)[0]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
    if length > LARGEST:
        raise OSError("the answer is longer than a broker's")
    return length


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise OSError("it closes the connection without an answer")
        parts += part
    return parts
