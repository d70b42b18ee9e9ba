"""Registries that speak OCI's distribution protocol. The only module that imports oras.

oras keeps the connection and logs in. Its other verbs are not used: they read whole files into memory, write manifests
anew, check no hash, wait two minutes before they give up, have no time limits, and follow every redirection.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from spade_edge.runtime.bundle.manifest import HASH
from spade_edge.runtime.errors import DataError, SpadeError, UsageError
from spade_edge.runtime.legible import legible
from spade_edge.tools.extras import packages_of
from spade_edge.tools.output import replacing
from spade_edge.tools.registry.artifact import ALGORITHM, BYTES, LARGE, LARGEST, MANIFEST, Blob
from spade_edge.tools.registry.reference import is_name, is_tag
from spade_edge.tools.remote import MissingError, UnreachableError, retried
from spade_edge.tools.sources.address import without_secrets

log = logging.getLogger(__name__)

OCI = "oci://"
TRIES = 4  # of one request
SOONEST = 0.5  # seconds until the second try; the time doubles
CONNECT, SILENCE = 10.0, 30.0  # seconds for a connection, and between two pieces of an answer
SLOWEST = 20_000  # bytes per second below which a file is given up, after a minute
PATIENCE = 60.0  # seconds that every answer may take
BLOCK = 1 << 20
HOPS = 3  # redirections of one file
MOST_SIBLINGS = 50  # bundles that are asked
MOST_PAGES = 1000  # of a list
LOCAL = ("localhost", "127.0.0.1", "::1")
BASIC = "basic"
PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be other ones soon
USER, PASSWORD = "ORAS_USER", "ORAS_PASS"  # variables of the environment, as oras calls them

Found = TypeVar("Found")


class OciRegistry:
    """See `registry.Registry`.

    Args:
        address: `oci://host:port/path`; the bundle NAME is the repository path/NAME.
        plain_http: without encryption; on this machine that is so anyway.

    Attributes:
        address: as messages repeat it.

    Raises:
        UsageError: the address cannot be read, or has a login in it.
        DeviceError: oras is not installed.
    """

    def __init__(self, address: str, *, plain_http: bool = False) -> None:
        parts = urlsplit(address)
        try:
            host = parts.hostname if parts.port != 0 else None
        except ValueError:  # of a port that is none
            host = None
        path = parts.path.strip("/")
        if "@" in parts.netloc:
            raise UsageError(
                f"expected a registry without a login in its address, found one; use 'docker login', or {USER} and "
                f"{PASSWORD} in the environment"
            )
        if not host or parts.query or parts.fragment or not (path == "" or is_name(path)):
            raise UsageError("expected a registry as oci://host:port/path, found another address")
        with packages_of("registry", needed_by="an OCI registry"):
            import oras.container
            import oras.logger
            import oras.provider
        oras.logger.logger.log_handler = []  # it would print on stderr
        self.address = f"{OCI}{parts.netloc}/{path}".rstrip("/")
        self._path = path
        plain = plain_http or host in LOCAL
        self._top = f"{'http' if plain else 'https'}://{parts.netloc}"
        self._client = oras.provider.Registry(hostname=parts.netloc, insecure=plain)
        # What oras asks for is bounded in time, and led nowhere else.
        session = self._client.session
        session.request = partial(session.request, timeout=(CONNECT, SILENCE), allow_redirects=False)
        self._ask = partial(oras.provider.Registry.do_request.__wrapped__, self._client)  # without oras's own tries
        self._login = self._known_login(oras.container.Container(f"{parts.netloc}/x", registry=parts.netloc))
        self._scheme: str | None = None  # how the registry wants users to log in; None until it was asked
        auth = self._client.auth
        auth.authenticate_request = partial(self._authenticate, auth.authenticate_request)

    def names(self) -> tuple[str, ...]:
        found = self._listed(f"{self._top}/v2/_catalog?n=1000", "repositories", "be listed; does it tell its names?")
        start = f"{self._path}/" if self._path else ""
        names = {one.removeprefix(start) for one in found if one.startswith(start)}
        return tuple(sorted(filter(is_name, names)))

    def tags(self, name: str) -> tuple[str, ...]:
        found = self._listed(f"{self._repository(name)}/tags/list?n=1000", "tags", "be listed", name)
        tags = tuple(sorted(filter(is_tag, found)))
        if not tags:
            raise MissingError(f"{self.address}: {name}: expected tags, found none")
        return tags

    def manifest(self, name: str, reference: str) -> bytes:
        digest = reference if HASH.fullmatch(reference) else None
        url = f"{self._repository(name)}/manifests/{f'{ALGORITHM}{digest}' if digest else reference}"

        def read() -> bytes:
            with self._answer("GET", url, name, headers={"Accept": MANIFEST}) as answer:
                return b"".join(self._pieces(answer, most=LARGEST, name=name))

        raw = self._tried(read, "be read", name)
        if digest is not None:
            self._check(raw, digest, name)
        return raw

    def has(self, name: str, blob: Blob) -> bool:
        return self._tried(lambda: self._has(name, blob), "be read", name)

    def read(self, name: str, blob: Blob, *, most: int) -> bytes:
        if blob.size > most:
            raise DataError(f"{self._shown(name)}: expected at most {most} bytes, found {blob.size}")

        def read() -> bytes:
            with self._opened(name, blob) as answer:
                return b"".join(self._pieces(answer, most=blob.size, name=name))

        raw = self._tried(read, "be read", name)
        self._check(raw, blob.sha256, name)
        return raw

    def fetch(self, name: str, blob: Blob, path: Path) -> None:
        self._tried(lambda: self._copy(name, blob, path), "be read", name)

    def put(self, name: str, blob: Blob, content: bytes | Path, *, siblings: Sequence[str] = ()) -> int:
        if self.has(name, blob):
            return 0
        if blob.size >= LARGE and self._mounted(name, blob, siblings):
            return 0
        self._tried(lambda: self._upload(name, blob, content), "be written", name)
        return blob.size

    def put_manifest(self, name: str, raw: bytes) -> None:
        self.put_tag(name, f"{ALGORITHM}{hashlib.sha256(raw).hexdigest()}", raw)

    def put_tag(self, name: str, tag: str, raw: bytes) -> None:
        def write() -> None:
            url = f"{self._repository(name)}/manifests/{tag}"
            with self._answer("PUT", url, name, headers={"Content-Type": MANIFEST}, data=raw, well=(200, 201)):
                pass

        self._tried(write, "be written", name)

    def _repository(self, name: str) -> str:
        return f"{self._top}/v2/{self._path}/{name}" if self._path else f"{self._top}/v2/{name}"

    def _shown(self, name: str = "") -> str:
        return f"{self.address}: {name}" if name else self.address

    def _known_login(self, container: Any) -> str | None:
        """The login that docker's configuration or the environment has, as basic authentication writes it."""
        auth = self._client.auth
        if os.environ.get(USER) and os.environ.get(PASSWORD):
            auth.set_basic_auth(os.environ[USER], os.environ[PASSWORD])
        else:
            try:
                auth.load_configs(container)
            except Exception as problem:  # a damaged configuration, or a helper that fails in a way of its own
                log.warning("%s: docker's configuration cannot be read: %s", self.address, _words(problem))
        return getattr(auth, "_basic_auth", None)

    def _copy(self, name: str, blob: Blob, path: Path) -> None:
        """Copy a blob to a file while its hash is found."""
        digest, size = hashlib.sha256(), 0
        with self._opened(name, blob) as answer, replacing(path) as file:
            for block in self._pieces(answer, most=blob.size, name=name):
                digest.update(block)
                size += len(block)
                file.write(block)
            if size < blob.size:
                raise _PassingError(f"found {size} of {blob.size} bytes")
            if digest.hexdigest() != blob.sha256:
                raise self._altered(name, blob.sha256, digest.hexdigest())

    def _check(self, raw: bytes, digest: str, name: str) -> None:
        found = hashlib.sha256(raw).hexdigest()
        if found != digest:
            raise self._altered(name, digest, found)

    def _altered(self, name: str, expected: str, found: str) -> DataError:
        return DataError(
            f"{self._shown(name)}: expected content with the SHA-256 {expected[:16]}…, found {found[:16]}…: the "
            "registry gives something else than was pushed; have that file removed there, and push again"
        )

    def _has(self, name: str, blob: Blob) -> bool:
        with suppress(MissingError), self._opened(name, blob, method="HEAD"):
            return True
        return False

    def _mounted(self, name: str, blob: Blob, siblings: Sequence[str]) -> bool:
        """Take a blob over from another bundle, so that it is not sent again; where that is not allowed, it is sent."""
        for sibling in [one for one in siblings if one != name][:MOST_SIBLINGS]:
            try:
                # Each request is tried by itself: a token is for one bundle, so the next one needs another.
                if self.has(sibling, blob):
                    return self._tried(partial(self._mount, name, blob, sibling), "be written", name)
            except UnreachableError:
                raise
            except DataError as problem:
                log.info("%s", problem)
        return False

    def _mount(self, name: str, blob: Blob, sibling: str) -> bool:
        source = f"{self._path}/{sibling}" if self._path else sibling
        url = f"{self._repository(name)}/blobs/uploads/?mount={ALGORITHM}{blob.sha256}&from={source}"
        with self._answer("POST", url, name, well=(201, 202)) as answer:
            return bool(answer.status_code == 201)  # otherwise it wants to be sent the blob

    def _upload(self, name: str, blob: Blob, content: bytes | Path) -> None:
        with self._answer("POST", f"{self._repository(name)}/blobs/uploads/", name, well=(202,)) as answer:
            place = urlsplit(urljoin(answer.url, answer.headers.get("Location", "")))
        if not place.path.startswith("/v2/"):
            raise DataError(f"{self._shown(name)}: expected a place for an upload, found none; is it a registry?")
        # On this registry, wherever it says that it is: files and logins go nowhere else.
        query = f"{place.query}&" if place.query else ""
        url = f"{self._top}{place.path}?{query}digest={ALGORITHM}{blob.sha256}"
        headers = {"Content-Type": BYTES, "Content-Length": str(blob.size)}
        if isinstance(content, bytes):
            with self._answer("PUT", url, name, headers=headers, data=content, well=(201, 204)):
                return
        try:
            file = content.open("rb")
        except OSError as problem:
            raise DataError(f"{content}: expected a file of the bundle, found: {problem.strerror}") from None
        with file, self._answer("PUT", url, name, headers=headers, data=file, well=(201, 204)):
            pass

    def _listed(self, url: str, field: str, what: str, name: str = "") -> list[str]:
        """The texts of a list that comes in pages."""
        found: list[str] = []
        for _ in range(MOST_PAGES):
            raw, following = self._tried(partial(self._page, url, name), what, name)
            try:
                found += [one for one in json.loads(raw).get(field) or [] if isinstance(one, str)]
            except (ValueError, AttributeError, TypeError, RecursionError):
                raise DataError(f"{self._shown(name)}: expected a list as JSON, found something else") from None
            if not following:
                break
            place = urlsplit(urljoin(url, following))
            url = f"{self._top}{place.path}?{place.query}"
        return found

    def _page(self, url: str, name: str) -> tuple[bytes, str]:
        with self._answer("GET", url, name) as answer:
            raw = b"".join(self._pieces(answer, most=LARGEST, name=name))
            return raw, str(answer.links.get("next", {}).get("url", ""))

    @contextmanager
    def _opened(self, name: str, blob: Blob, *, method: str = "GET") -> Iterator[Any]:
        """The answer that holds a blob. Registries may send to a store of files; that is followed without a login."""
        url = f"{self._repository(name)}/blobs/{ALGORITHM}{blob.sha256}"
        with self._answer(method, url, name, well=(200, 301, 302, 303, 307, 308)) as answer:
            hops = 0
            while 300 <= answer.status_code < 400:
                url, hops = urljoin(url, answer.headers.get("Location", "")), hops + 1
                place = urlsplit(url)
                safe = place.scheme == "https" or f"{place.scheme}://{place.netloc}" == self._top
                if hops > HOPS or not safe:
                    raise DataError(
                        f"{self._shown(name)}: expected the file, or an https address where it is, found that the "
                        f"registry sends to {place.scheme or 'nowhere'}://{place.hostname or ''}; ask who runs it"
                    )
                answer.close()
                answer = self._client.session.request(method, url, headers=_PLAINLY, stream=True)  # noqa: PLW2901
                self._judge(answer, name, (200, 301, 302, 303, 307, 308))
            with closing(answer):
                yield answer

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        name: str,
        *,
        headers: dict[str, str] | None = None,
        data: Any = None,
        well: tuple[int, ...] = (200,),
    ) -> Iterator[Any]:
        """The answer to a request, whose body is not read yet."""
        sent = _PLAINLY | (headers or {})
        with closing(self._asked(method, url, name, sent, data)) as answer:
            self._judge(answer, name, well)
            yield answer

    def _asked(self, method: str, url: str, name: str, headers: dict[str, str], data: Any) -> Any:
        """The answer to a request, with whatever login the registry asks for."""
        if self._scheme is None:
            self._scheme = self._wanted_login()
        if self._scheme == BASIC:
            if self._login is None:
                raise self._locked(name)
            sent = headers | {"Authorization": f"Basic {self._login}"}
            return self._client.session.request(method, url, data=data, headers=sent, stream=True)
        auth = self._client.auth
        had_token = bool(auth.token)
        try:
            answer = self._ask(url, method, data=data, headers=headers, stream=True)
        except ValueError as problem:  # so oras says that it cannot log in
            if "authentication" not in str(problem):
                raise
            answer = None
            if self._scheme == BASIC:  # it is known since this request
                raise _PassingError("the registry asks to log in") from None
        if answer is None or answer.status_code in (401, 403):
            if answer is not None:
                answer.close()
            if not had_token:
                raise self._locked(name)
            auth.token = None  # it was for another bundle, or is too old; oras would send it again
            raise _PassingError("the registry asks to log in again")
        return answer

    def _wanted_login(self) -> str:
        """How the registry wants its users to log in; empty if it does not say."""
        answer = self._client.session.request("GET", f"{self._top}/v2/", headers=_PLAINLY, stream=True)
        with closing(answer):
            return _scheme_of(answer)

    def _authenticate(self, ask: Any, answer: Any, headers: dict[str, str], refresh: bool = False) -> Any:
        """Have oras ask for a token. A login for basic authentication it would send to a server of the realm's name."""
        if _scheme_of(answer) == BASIC:
            self._scheme = BASIC
            return headers, False
        return ask(answer, headers, refresh=refresh)

    def _judge(self, answer: Any, name: str, well: tuple[int, ...]) -> None:
        """Refuse an answer that is none.

        Raises:
            MissingError, DataError: see `registry.Registry`.
        """
        status = answer.status_code
        if status in well:
            return
        said = self._said(answer)
        if status == 404:
            raise MissingError(f"{self._shown(name)}: expected it to be there, found none{said}")
        if status in (401, 403):
            raise self._locked(name)
        if status in PASSING:
            raise _PassingError(f"the registry answers {status}{said}")
        raise DataError(f"{self._shown(name)}: expected the registry to do as asked, found {status}{said}")

    def _said(self, answer: Any) -> str:
        """What the registry says of a failure, in a few words."""
        with suppress(Exception):
            raw = b"".join(self._pieces(answer, most=4096, name=""))
            text = str(json.loads(raw)["errors"][0]["message"])
            return f" ({without_secrets(legible(text[:120]))})"
        return ""

    def _locked(self, name: str) -> DataError:
        return DataError(
            f"{self._shown(name)}: expected to be let in, found that a login is needed or may not do this; use "
            f"'docker login', or {USER} and {PASSWORD} in the environment"
        )

    def _pieces(self, answer: Any, *, most: int, name: str) -> Iterator[bytes]:
        """The body of an answer, of at most so many bytes, which must not take for ever."""
        size, ending = 0, time.monotonic() + PATIENCE + most / SLOWEST
        for block in _blocks(answer.raw):
            size += len(block)
            if size > most:
                raise DataError(f"{self._shown(name)}: expected at most {most} bytes, found more")
            if time.monotonic() > ending:
                raise _PassingError(f"only {size} bytes came in {PATIENCE + most / SLOWEST:.0f} seconds")
            yield block

    def _tried(self, call: Callable[[], Found], what: str, name: str = "") -> Found:
        """What a call returns; a fault that may pass is given some tries.

        Raises:
            MissingError, UnreachableError, DataError: it does not pass.
        """

        def judge(problem: Exception) -> SpadeError | str:  # of requests, urllib3, oras, sockets
            if "CERTIFICATE_VERIFY_FAILED" in str(problem):
                return DataError(
                    f"{self._shown(name)}: expected a certificate that this machine trusts, found another; name "
                    "that of the registry in REQUESTS_CA_BUNDLE"
                )
            return _words(problem)

        about = f"{self._shown(name)}: cannot {what}"
        return retried(call, about=about, judge=judge, tries=TRIES, soonest=SOONEST)


class _PassingError(Exception):
    """A fault that may pass."""


def _scheme_of(answer: Any) -> str:
    """How an answer asks to log in; empty if it does not."""
    wanted = answer.headers.get("Www-Authenticate", "") if answer.status_code == 401 else ""
    return str(wanted.partition(" ")[0].lower())


def _blocks(raw: Any) -> Iterator[bytes]:
    """A body as it comes. To wait for whole blocks of a server that sends a byte now and then has no end."""
    if not hasattr(raw, "read1"):  # urllib3 1
        yield from raw.stream(BLOCK, decode_content=False)
        return
    while block := raw.read1(BLOCK, decode_content=False):
        yield block


_PLAINLY = {"Accept-Encoding": "identity"}  # bytes as they are: sizes and hashes are those of the files


def _words(problem: Exception) -> str:
    """An exception in one line, without what may be secret in it."""
    reason: BaseException = problem
    while (inner := reason.__cause__ or reason.__context__) is not None:
        reason = inner
    if isinstance(problem, _PassingError):
        reason = problem
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return without_secrets(" ".join(text.split())[:200])
