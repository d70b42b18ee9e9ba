"""Addresses of files: `s3://bucket/folder`, `gs://…`, `az://…`, `https://…`, `file:///…`, or a path."""

from __future__ import annotations

import re

from spade_edge.tools.sources.address import without_login

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)


def is_address(text: str) -> bool:
    """Whether a text is an address, and not a path of this machine."""
    return _SCHEME.match(text) is not None


def shown(address: str) -> str:
    """An address as messages repeat it: without a password, and without its query, which may hold a signature."""
    return without_login(address)
