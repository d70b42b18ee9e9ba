"""Addresses of files: `s3://bucket/folder`, `gs://…`, `az://…`, `https://…`, `file:///…`, or a path."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

from spade_edge.tools.sources.address import without_login

WEB = ("http", "https")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
_LOCAL = re.compile(r"(?:file|local)://", re.I)


def is_address(text: str) -> bool:
    """Whether a text is an address, and not a path of this machine."""
    return _SCHEME.match(text) is not None


def scheme_of(address: str) -> str:
    """The kind of an address in lower case, such as "s3"; empty for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def local_path(text: str) -> Path | None:
    """The path of a file or folder on this machine; None for an address elsewhere."""
    if found := _LOCAL.match(text):
        return Path(text[found.end() :])
    return None if is_address(text) else Path(text)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a file below an address: it leads nowhere else, and can be printed."""
    return not {"", ".", ".."} & set(text.split("/")) and not any(
        unicodedata.category(letter) in ("Cc", "Cs") for letter in text
    )


def shown(address: str) -> str:
    """An address as messages repeat it: without a password, and without its query, which may hold a signature."""
    return without_login(address)


def divided(address: str) -> tuple[str, str]:
    """The top of an address, and the name of the file below it, as `Store` takes both.

    The top is the bucket or the server, so that all files of one bucket are read through one store. A web address with
    a query is not divided: its name is empty. Of a path, the top is the folder.
    """
    path = local_path(address)
    if path is not None:
        return str(path.parent), path.name
    found = _SCHEME.match(address)
    start = found.end() if found else 0
    end = address.find("/", start)
    if end < 0 or (scheme_of(address) in WEB and ("?" in address or "#" in address)):
        return address, ""
    name = address[end + 1 :]
    return address[:end], unquote(name) if scheme_of(address) in WEB else name


def joined(folder: str, name: str) -> str:
    """The address of a file below a folder.

    Args:
        folder: an address or a path.
        name: relative to it, with slashes.
    """
    path = local_path(folder)
    if path is not None:
        return str(path / name)
    return f"{folder.rstrip('/')}/{quote(name) if scheme_of(folder) in WEB else name}"
