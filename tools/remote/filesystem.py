"""Files in object stores and on web servers: fsspec knows the ways there. The only module that imports it.

Login and endpoint come from where the library of each kind of store looks for them: the environment, and its files.
Nothing is kept between two stores: neither connections nor listings, which may be old.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urldefrag, urljoin

from spade_edge.runtime.errors import DataError, DeviceError, UsageError
from spade_edge.tools.extras import packages_of
from spade_edge.tools.remote.address import WEB, scheme_of, shown
from spade_edge.tools.remote.files import Listed, Readable, head
from spade_edge.tools.sources.address import HIDDEN, without_secrets

BLOCK = 4 << 20  # bytes of one request; a smaller file takes one
CONNECT, SILENCE = 5.0, 30.0  # seconds until a connection, and without a byte
PAGES = 10_000  # index pages of a web server that are read
LARGEST_PAGE = 16 << 20  # bytes of one

EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "adl": "azure"}
# What may be otherwise in a moment: Request Timeout, Too Early, Too Many Requests, and a server in trouble.
PASSING = (408, 425, 429, 500, 502, 503, 504, 507, 509)
BEHIND_THE_END = 416
WITHOUT_LOGIN = ("NoCredentialsError", "PartialCredentialsError")  # botocore's
OBJECTS = ("s3", "s3a", *EXTRAS)
# A password may have a slash in it, so what follows the first one tells nothing. No bucket has a colon but in its ARN.
_LOGIN = re.compile(r"[^:/]+://(?!arn:)[^/]*:")
_NO_PORT = re.compile(r"[^:/]+://(?:\[[^]/]*\]|[^@:/\[]*):(?!\d*(?:[/?#]|$))[^@/]*(?:/|$)")
_VERSION = "?versionId="
_ENCODED = "%:/?#[]@!$&'()*+,;=~"  # what stays as it is in a web address that people write
_HREF = re.compile(rb"""<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.I)


def connected(address: str) -> Filesystem:
    """The files at an address.

    Raises:
        UsageError: an address of an unknown kind.
        DeviceError: the package for this kind of address is not installed.
        DataError: its configuration cannot be used.
    """
    scheme = scheme_of(address)
    if scheme in OBJECTS and _LOGIN.match(address):
        raise UsageError(
            f"{scheme}://{HIDDEN}: expected an address without user and password, found some; give them in the "
            "environment, or in the files that are usual for this store"
        )
    if scheme in WEB and _NO_PORT.match(address):
        raise UsageError(
            f"{scheme}://{HIDDEN}: expected a port behind the host, found something else; in a user name or password, "
            "write / ? # @ : % as %2F %3F %23 %40 %3A %25"
        )
    extra = EXTRAS.get(scheme, "remote")
    with packages_of(extra, needed_by=f"an address such as {shown(address)}"):
        import fsspec
        from fsspec.asyn import sync
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise UsageError(
            f"{shown(address)}: expected an address such as s3://, gs://, az://, https:// or file://, found {scheme}://"
        ) from None
    except ImportError as problem:
        remedy = f"pip install 'spade-edge[{extra}]'" if scheme in EXTRAS or scheme in ("s3", *WEB) else str(problem)
        raise DeviceError(
            f"{shown(address)}: expected the package for {scheme}:// addresses, found none; {remedy}"
        ) from None
    try:
        # Not by fsspec's own reading of addresses, which would take "::" in a name for a chain of two.
        options = kind._get_kwargs_from_urls(address) | _OPTIONS.get(scheme, dict)()
        files = kind(skip_instance_cache=True, use_listings_cache=False, **options)
        if hasattr(files, "set_session"):  # now, as two threads would make two
            sync(files.loop, files.set_session)
        if hasattr(files, "retries"):
            files.retries = 1  # the store tries again, and says so
    except Exception as problem:  # each kind of store has its own
        raise DataError(
            f"{shown(address)}: expected settings to connect with, found: {without_secrets(str(problem))}"
        ) from None
    if scheme in WEB:
        return Web(files, quote(address, safe=_ENCODED).rstrip("/"))
    return Filesystem(files, str(files._strip_protocol(address)).rstrip("/"))


class Filesystem:
    """The files at an address of fsspec; see `Files`.

    Args:
        files: the file system.
        root: the folder in it.
    """

    def __init__(self, files: Any, root: str) -> None:
        self._files = files
        self._root = root

    def listed(self) -> Iterator[Listed]:
        for path, info in self._files.find(self._root, detail=True).items():
            if path == self._root or path.endswith("/"):  # what consoles call a folder
                continue
            yield Listed(
                name=path.removeprefix(f"{self._root}/"),  # one slash: another one belongs to the name
                size=info.get("size"),
                time=_time(info.get("LastModified") or info.get("last_modified") or info.get("updated")),
                mark=str(info.get("ETag") or info.get("etag") or "").strip('"'),
            )

    def opened(self, name: str, *, size: int | None) -> AbstractContextManager[Readable]:
        if size:
            return nullcontext(_Parts(self._files, self._path(name), size))
        file = self._files.open(self._path(name), "rb", block_size=BLOCK, cache_type="readahead")
        if file.details.get("type") == "directory":
            raise FileNotFoundError(name)
        return file

    def write(self, name: str, content: bytes | Path) -> None:
        # An object appears when all of it is there.
        if isinstance(content, Path):
            self._files.put_file(str(content), self._path(name))
        else:
            self._files.pipe_file(self._path(name), content)

    def exists(self, name: str) -> bool:
        try:
            return self._files.info(self._path(name))["type"] == "file"
        except FileNotFoundError:
            return False

    def remove(self, name: str) -> None:
        self._files.rm_file(self._path(name))

    def passes(self, problem: Exception) -> bool:
        status = _status(problem)
        if status is not None and 400 <= status < 600:
            return status in PASSING
        lasting = (PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError, NotImplementedError)
        if type(problem).__name__ in (*WITHOUT_LOGIN, "ParamValidationError"):
            return False
        return not isinstance(problem, lasting)

    def _path(self, name: str) -> str:
        if _VERSION in name:  # s3fs would take it for a wish, and cut it off
            raise ValueError(f"expected a name without {_VERSION}, found one")
        return f"{self._root}/{name}" if name else self._root


class Web(Filesystem):
    """The files of a web server. They are listed by the links of its index pages, as most servers make them."""

    def listed(self) -> Iterator[Listed]:
        top = f"{self._root}/"
        pages, seen, count = [top], {top}, 1
        while pages:
            page = pages.pop()
            for link in self._links(page):
                url = urldefrag(urljoin(page, link)).url
                if "?" in url or url in seen or not url.startswith(top):  # the order of columns, the folder above
                    continue
                seen.add(url)
                if not url.endswith("/"):
                    yield Listed(name=unquote(url[len(top) :]), size=None, time=None, mark="")
                elif count == PAGES:
                    raise ValueError(f"more than {PAGES} index pages")
                else:
                    pages.append(url)
                    count += 1

    def opened(self, name: str, *, size: int | None) -> AbstractContextManager[Readable]:
        del size  # one request, which is read as it comes: many servers know no parts of files
        return self._files.open(self._path(name), "rb", block_size=0, size=1)

    def write(self, name: str, content: bytes | Path) -> None:
        raise NotImplementedError("a web server is only read")

    def remove(self, name: str) -> None:
        raise NotImplementedError("a web server is only read")

    def exists(self, name: str) -> bool:
        try:
            with self.opened(name, size=None):
                return True
        except FileNotFoundError:
            return False

    def _links(self, page: str) -> list[str]:
        with self._files.open(page, "rb", block_size=0, size=1) as file:
            raw = head(file, LARGEST_PAGE + 1)
        if len(raw) > LARGEST_PAGE:
            raise ValueError(f"an index page of more than {LARGEST_PAGE} bytes")
        found = (b"".join(each).decode("utf-8", "replace") for each in _HREF.findall(raw))
        return [html.unescape(link) for link in found]

    def _path(self, name: str) -> str:
        return f"{self._root}/{quote(name)}" if name else self._root


class _Parts:
    """A file of known size, read part by part, without asking for anything beforehand.

    One byte more is asked for, so that a file that has grown is found out.
    """

    def __init__(self, files: Any, path: str, size: int) -> None:
        self._files = files
        self._path = path
        self._end = size + 1
        self._start = 0
        self._block = b""

    def read(self, count: int) -> bytes:
        if not self._block and self._start < self._end:
            end = self._start + BLOCK
            if end + 1 >= self._end:  # servers refuse a part that is wholly behind the end
                end = self._end
            try:
                self._block = self._files.cat_file(self._path, start=self._start, end=end)
            except Exception as problem:  # each kind of store has its own
                if _status(problem) != BEHIND_THE_END:
                    raise
            self._start += len(self._block)
            if self._start < end:  # the file is shorter
                self._end = self._start
        found, self._block = self._block[:count], self._block[count:]
        return found


def _status(problem: BaseException) -> int | None:
    """The status of the answer that an exception stands for; None if it stands for none."""
    each: BaseException | None = problem
    while each is not None:
        response = getattr(each, "response", None)  # botocore's
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        google = getattr(each, "code", None) if type(each).__name__ == "HttpError" else None
        for found in (status, getattr(each, "status", None), getattr(each, "status_code", None), google):
            if isinstance(found, int):
                return found
        each = each.__cause__
    return None


def _of_s3() -> dict[str, Any]:
    return {
        "config_kwargs": {
            "connect_timeout": CONNECT,
            "read_timeout": SILENCE,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "max_pool_connections": 32,
        }
    }


def _of_web() -> dict[str, Any]:
    import aiohttp

    wait = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE)
    return {"client_kwargs": {"timeout": wait, "trust_env": True}, "encoded": True}


_OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "s3": _of_s3,
    "s3a": _of_s3,
    "http": _of_web,
    "https": _of_web,
}


def _time(moment: Any) -> datetime | None:
    """A time as kinds of stores give it."""
    if isinstance(moment, datetime):
        return moment
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment).astimezone()
    if isinstance(moment, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                return read(moment.replace("Z", "+00:00") if read is datetime.fromisoformat else moment)
            except ValueError:
                continue
    return None
