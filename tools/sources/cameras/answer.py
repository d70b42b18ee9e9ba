"""What a server answers that delivers no video: a refusal, a web page, a single picture. Asked only after a failure."""

from __future__ import annotations

import socket
import ssl
import urllib.request
from http.client import HTTPException, responses
from urllib.error import HTTPError

from spade_edge.tools.sources.address import Address

WITHIN = 5.0  # seconds
RTSP_PORT = 554
DESCRIBE = "DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\nUser-Agent: spade-edge\r\n\r\n"


def answer(address: Address, *, status: int | None = None) -> str:
    """What is known of a server that delivers no video, with what to do; "" if nothing is.

    Args:
        address: of the stream.
        status: with which the server has refused, if it is known.
    """
    if status is not None:
        return refusal(status, address)
    try:
        if address.scheme in ("http", "https"):
            return _web_answer(address)
        if address.scheme == "rtsp":
            return _rtsp_answer(address)
    except (OSError, HTTPException, ValueError):
        pass  # the failure itself says enough
    return ""


def refusal(status: int, address: Address) -> str:
    """A status of a server in words, with what to do."""
    found = f"{status} {responses.get(status, '')}".strip()
    if status == 401:
        if address.login is None:
            return f"{found}: it asks for a user and password, as in {address.scheme}://USER:PASSWORD@HOST/…"
        return (
            f"{found}: it refuses this user or password; in them, write / ? # @ : % as %2F %3F %23 %40 %3A %25, "
            f"and put the address in quotes"
        )
    if status == 403:
        return f"{found}: this user may not see the stream; check the rights of the user in the camera's settings"
    if status == 404:
        return f"{found}: nothing is at this path; the camera's manual names the path of its video stream"
    if status >= 500:
        return f"{found}: the server has a fault of its own; is it overloaded, or does it start?"
    return f"{found}: check the address"


def single_picture(kind: str) -> str:
    """That an address leads to one picture, with what to do."""
    return (
        f"a single picture ({kind}) and no stream: use the address of the camera's video stream, or save the pictures "
        f"into a folder and watch it with watch:DIR"
    )


def _web_answer(address: Address) -> str:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if address.login is not None:
        passwords.add_password(None, address.anonymous, *address.login)
    opener = urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323  (as FFmpeg opens it)
    )
    try:
        with opener.open(address.anonymous, timeout=WITHIN) as reply:
            kind = reply.headers.get_content_type()
    except HTTPError as problem:
        problem.close()
        return refusal(problem.code, address)
    if kind in ("text/html", "application/xhtml+xml"):
        return "a web page: the camera's manual names the address of its video stream"
    if kind.startswith("image/"):
        return single_picture(kind)
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        return f"text ({kind}) and no video: the camera's manual names the address of its video stream"
    return ""


def _rtsp_answer(address: Address) -> str:
    host = address.host.strip("[]")
    with socket.create_connection((host, address.port or RTSP_PORT), timeout=WITHIN) as connection:
        connection.sendall(DESCRIBE.format(address.anonymous).encode())
        line = connection.makefile("rb").readline(200).decode("latin-1").split()
    if len(line) > 1 and line[0].startswith("RTSP/") and line[1].isdecimal() and int(line[1]) >= 400:
        return refusal(int(line[1]), address)
    return ""
