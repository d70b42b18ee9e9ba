"""OCI registries that lie, break off, ask for a login, or are gone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import pytest
from certificates import Authority
from fake_line import LONG
from object_stores import answering, breaking_off, serving
from oci_registries import FalseRegistry, closed_port, docker_registry, false_registry

from spade_edge.runtime import DataError, UsageError
from spade_edge.tools.registry import Blob, Reference, Registry, open_registry, push
from spade_edge.tools.registry import oci as oci_module
from spade_edge.tools.registry.artifact import LARGEST
from spade_edge.tools.registry.oci import TRIES
from spade_edge.tools.remote import MissingError, UnreachableError

CONTENT = bytes(range(256)) * 40
BLOB = Blob.of(CONTENT, media="application/octet-stream")


@pytest.fixture
def false() -> Iterator[FalseRegistry]:
    with false_registry() as registry:
        yield registry


@pytest.fixture
def registry(false: FalseRegistry) -> Registry:
    return open_registry(f"oci://127.0.0.1:{false.port}/plant")


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1 << 16)


def test_a_blob_comes_whole(false: FalseRegistry, registry: Registry, tmp_path: Path) -> None:
    false.hold(CONTENT)
    registry.fetch("bolt", BLOB, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT == registry.read("bolt", BLOB, most=len(CONTENT))
    assert registry.has("bolt", BLOB)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((200, {}, CONTENT[:-1] + b"x"), "gives something else than was pushed"),
        ((200, {}, CONTENT + b"x"), "expected at most 10240 bytes, found more"),
        ((200, {"Content-Length": str(len(CONTENT))}, endless), "gives something else than was pushed"),
        ((200, {"Connection": "close"}, endless), "expected at most 10240 bytes, found more"),
        ((200, {"Content-Encoding": "gzip"}, CONTENT[:-1] + b"x"), "gives something else"),
        ((200, {}, CONTENT[:100]), "cannot be read: found 100 of 10240 bytes; tried 4 times"),
        ((200, {"Content-Length": "999999"}, CONTENT[:100]), "cannot be read: .*; tried 4 times"),
        ((404, {}, b"<html>"), "expected it to be there, found none"),
        ((403, {}, b""), "docker login"),
        ((418, {}, b'{"errors":[{"message":"a \\u001b[2J pot?token=abc"}]}'), r"found 418 \(a \?\[2J pot\?token=…\)"),
        ((503, {}, b"[]"), "the registry answers 503; tried 4 times"),
        ((500, {}, endless), "the registry answers 500; tried 4 times"),
        ((302, {"Location": "http://10.0.0.1/secret"}, b""), "sends to http://10.0.0.1; ask who runs it"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "sends to file://"),
        ((302, {}, b""), "expected the file"),
    ],
)  # fmt: skip
def test_what_a_registry_gives_instead_of_a_blob_is_refused_in_one_line(
    answer: tuple[int, dict[str, str], bytes | Callable[[], Iterator[bytes]]],
    found: str,
    false: FalseRegistry,
    registry: Registry,
    tmp_path: Path,
) -> None:
    status, headers, body = answer
    false.answers[BLOB.sha256] = lambda: (status, headers, body() if callable(body) else body)
    with pytest.raises(DataError, match=found) as caught:
        registry.fetch("bolt", BLOB, tmp_path / "x")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(registry.address)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError):
        registry.read("bolt", BLOB, most=1 << 20)


def test_a_large_blob_is_not_read_into_memory(registry: Registry) -> None:
    with pytest.raises(DataError, match="expected at most 10 bytes, found 10240"):
        registry.read("bolt", BLOB, most=10)


def test_a_manifest_of_any_size_is_read_no_further_than_it_may_go(false: FalseRegistry, registry: Registry) -> None:
    false.answers["/manifests/v1"] = lambda: (200, {"Connection": "close"}, endless())
    with pytest.raises(DataError, match=f"expected at most {LARGEST} bytes, found more"):
        registry.manifest("bolt", "v1")


def test_a_manifest_by_digest_has_that_digest(false: FalseRegistry, registry: Registry) -> None:
    digest = false.hold(b"{}")
    assert registry.manifest("bolt", digest) == b"{}"
    false.answers[f"sha256:{digest}"] = (200, {"Docker-Content-Digest": f"sha256:{digest}"}, b"[]")
    with pytest.raises(DataError, match="gives something else than was pushed"):
        registry.manifest("bolt", digest)


def test_lists_have_an_end_and_names_that_are_none_are_left_out(false: FalseRegistry, registry: Registry) -> None:
    names = ["plant/bolt", "plant/press-3/nut", "plant/../x", "other/bolt", "plant/", 7, "plant/Ä"]
    false.answers["/_catalog?n=1000"] = (200, {}, json.dumps({"repositories": names}).encode())
    assert registry.names() == ("bolt", "press-3/nut")
    false.answers["/tags/list?n=1000"] = (200, {}, b'{"tags": ["v1", "../x", null, "production"]}')
    assert registry.tags("bolt") == ("production", "v1")
    for raw in (b"[]", b"no", b'{"tags": 7}'):
        false.answers["/tags/list?n=1000"] = (200, {}, raw)
        with pytest.raises(DataError, match="expected (a list|tags)"):
            registry.tags("bolt")


def test_a_list_that_leads_elsewhere_stays_on_the_registry(
    false: FalseRegistry, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_module, "MOST_PAGES", 5)
    away = {"Link": '<http://10.0.0.1/v2/_catalog?n=1000>; rel="next"'}
    false.answers["/_catalog?n=1000"] = (200, away, b'{"repositories": ["plant/bolt"]}')
    assert registry.names() == ("bolt",)
    assert false.asked.count("/v2/_catalog?n=1000") == 5


def test_a_redirection_is_followed_on_the_registry_itself_and_not_for_ever(
    false: FalseRegistry, registry: Registry, tmp_path: Path
) -> None:
    false.answers["/store/blob"] = (200, {}, CONTENT)
    false.answers[BLOB.sha256] = (307, {"Location": "/store/blob"}, b"")
    registry.fetch("bolt", BLOB, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    false.answers["/store/blob"] = (307, {"Location": "/store/blob"}, b"")
    with pytest.raises(DataError, match="expected the file"):
        registry.fetch("bolt", BLOB, tmp_path / "x")


def test_a_login_is_not_carried_to_another_server(
    false: FalseRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port of its own is another server; so the redirection there is refused before anything is sent."""
    monkeypatch.setenv("ORAS_USER", "ann")
    monkeypatch.setenv("ORAS_PASS", "secret")
    asked: list[str] = []
    with answering(lambda path: (asked.append(path), (200, {}, CONTENT))[1]) as port:
        false.answers[BLOB.sha256] = (307, {"Location": f"http://127.0.0.1:{port}/x"}, b"")
        with pytest.raises(DataError, match="sends to http://127.0.0.1"):
            open_registry(f"oci://127.0.0.1:{false.port}/plant").fetch("bolt", BLOB, tmp_path / "x")
    assert asked == []


def test_a_connection_that_breaks_off_is_tried_again(false: FalseRegistry, tmp_path: Path) -> None:
    false.hold(CONTENT)
    with breaking_off(false.port, 0, 50, 1000, 5000) as proxy:
        open_registry(f"oci://127.0.0.1:{proxy.port}/plant").fetch("bolt", BLOB, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert proxy.connections >= 4


def test_a_registry_that_is_down_is_given_up_soon() -> None:
    pytest.importorskip("oras")
    with closed_port() as port, pytest.raises(UnreachableError, match="Connection refused; tried 4 times"):
        open_registry(f"oci://127.0.0.1:{port}/plant").manifest("bolt", "v1")


def test_a_registry_that_comes_back_is_found(false: FalseRegistry, registry: Registry, tmp_path: Path) -> None:
    answers = iter([(503, {}, b"")] * (TRIES - 1))
    false.answers[BLOB.sha256] = lambda: next(answers, (200, {}, CONTENT))
    registry.fetch("bolt", BLOB, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_an_answer_that_never_ends_is_given_up(
    false: FalseRegistry, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_module, "PATIENCE", -1.0)
    monkeypatch.setattr(oci_module, "SLOWEST", 1 << 40)
    false.hold(CONTENT)
    with pytest.raises(UnreachableError, match="only .* bytes came in"):
        registry.fetch("bolt", BLOB, tmp_path / "x")


def test_an_answer_that_comes_byte_by_byte_is_given_up(
    false: FalseRegistry, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_module, "PATIENCE", -1.0)
    monkeypatch.setattr(oci_module, "SLOWEST", 1 << 40)
    over = Event()

    def slowly() -> Iterator[bytes]:
        yield CONTENT[:1]
        over.wait(LONG)

    false.answers[BLOB.sha256] = lambda: (200, {"Content-Length": str(len(CONTENT))}, slowly())
    try:
        with pytest.raises(UnreachableError, match="only 1 bytes came in"):
            registry.fetch("bolt", BLOB, tmp_path / "x")
    finally:
        over.set()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("oci://", "expected a registry as oci://host"),
        ("oci://host:port/x", "expected a registry as oci://host"),
        ("oci://host:99999/x", "expected a registry as oci://host"),
        ("oci://host/Upper", "expected a registry as oci://host"),
        ("oci://host/x?y=z", "expected a registry as oci://host"),
        ("oci://host/../x", "expected a registry as oci://host"),
        ("oci://ann:secret@host/x", "without a login in its address"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(address: str, expected: str) -> None:
    pytest.importorskip("oras")
    with pytest.raises(UsageError, match=expected) as caught:
        open_registry(address)
    assert "secret" not in str(caught.value)


def test_only_this_machine_is_spoken_to_without_encryption() -> None:
    pytest.importorskip("oras")
    for address, plain, top in [
        ("oci://127.0.0.1:5000/x", False, "http://127.0.0.1:5000"),
        ("oci://localhost/x", False, "http://localhost"),
        ("oci://[::1]:5000/x", False, "http://[::1]:5000"),
        ("oci://registry.plant:5000/x", False, "https://registry.plant:5000"),
        ("oci://registry.plant:5000/x", True, "http://registry.plant:5000"),
        ("oci://localhost.evil.example/x", False, "https://localhost.evil.example"),
    ]:
        assert open_registry(address, plain_http=plain)._top == top  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="--plain-http with an address that begins with oci://"):
        open_registry("folder", plain_http=True)


# Logins


def _bearer(path: str, token: str, false: FalseRegistry) -> tuple[int, dict[str, str], bytes]:
    del path, token
    realm = f"http://127.0.0.1:{false.port}/token"
    return 401, {"Www-Authenticate": f'Bearer realm="{realm}",service="plant",scope="repository:bolt:pull"'}, b""


def test_a_registry_that_gives_tokens_is_logged_in_to(false: FalseRegistry, registry: Registry) -> None:
    """The token is asked for anonymously; that it is sent is seen from the second answer."""
    refusals = iter([True])
    false.answers["/manifests/v1"] = lambda: _bearer("", "", false) if next(refusals, False) else (200, {}, b"{}")
    false.answers["/token?service=plant&scope=repository%3Abolt%3Apull"] = (200, {}, b'{"token": "abc"}')
    assert registry.manifest("bolt", "v1") == b"{}"
    assert any(path.startswith("/token?") for path in false.asked)


def test_a_token_that_has_expired_is_asked_for_again(false: FalseRegistry, registry: Registry) -> None:
    refusals = iter([True, False, True, True, False])
    false.answers["/manifests/v1"] = lambda: _bearer("", "", false) if next(refusals, False) else (200, {}, b"{}")
    false.answers["/token?service=plant&scope=repository%3Abolt%3Apull"] = (200, {}, b'{"token": "abc"}')
    assert registry.manifest("bolt", "v1") == registry.manifest("bolt", "v1") == b"{}"


def test_a_token_that_is_refused_for_good_is_said(false: FalseRegistry, registry: Registry) -> None:
    false.answers["/manifests/v1"] = lambda: _bearer("", "", false)
    for answer in ((200, {}, b'{"token": "abc"}'), (500, {}, b"no"), (200, {}, b"no")):
        false.answers["/token?service=plant&scope=repository%3Abolt%3Apull"] = answer
        with pytest.raises(DataError, match=r"docker login|cannot be read"):
            registry.manifest("bolt", "v1")


class Asking(BaseHTTPRequestHandler):
    """A registry that asks for a login; what it holds, and what it was asked with, belong to the class of a test."""

    protocol_version = "HTTP/1.1"

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("first", [200, 503])
def test_a_login_is_not_sent_to_a_server_that_is_called_as_the_realm(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry may say only later that it wants one, or be busy when it is asked."""
    pytest.importorskip("oras")
    monkeypatch.setenv("ORAS_USER", "ann")
    monkeypatch.setenv("ORAS_PASS", "secret")
    asked: list[str] = []

    class Basic(Asking):
        def do_GET(self) -> None:
            if self.path == "/v2/":
                self.say(first)
            elif self.headers.get("Authorization", "").startswith("Basic "):
                self.say(200, b"{}")
            else:
                self.say(401, Www_Authenticate=f'Basic realm="http://127.0.0.1:{port}"')

    def other(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return 200, {}, b'{"token": "x"}'

    with answering(other) as port, serving(Basic) as own:
        assert open_registry(f"oci://127.0.0.1:{own}/plant").manifest("bolt", "v1") == b"{}"
    assert asked == []


@pytest.mark.parametrize("allowed", [True, False])
def test_a_file_of_another_bundle_is_taken_over_where_each_bundle_has_a_token_of_its_own(allowed: bool) -> None:
    """If the other bundle may not be read, the file is sent."""
    pytest.importorskip("oras")
    content = bytes(oci_module.LARGE)
    blob = Blob.of(content, media="x")
    held = {"nut": {f"sha256:{blob.sha256}"}, "bolt": set()}

    class Token(Asking):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            name, about = parts.path.split("/")[3:4], parse_qs(parts.query)
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if parts.path == "/token":
                self.say(200, json.dumps({"token": about["scope"][0]}).encode())
            elif not name:
                self.say(401, Www_Authenticate='Bearer realm="x"')
            elif self.headers.get("Authorization") != f"Bearer {name[0]}" or (name == ["nut"] and not allowed):
                realm = f"http://{self.headers['Host']}/token"
                self.say(401, Www_Authenticate=f'Bearer realm="{realm}",service="plant",scope="{name[0]}"')
            elif self.command == "HEAD":
                self.say(200 if parts.path.rpartition("/")[2] in held[name[0]] else 404)
            elif self.command == "POST" and "mount" not in about:
                self.say(202, Location=f"{parts.path}1")
            else:
                held[name[0]] |= {*about.get("mount", ()), *about.get("digest", ())}
                self.say(201)

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    with serving(Token) as port:
        registry = open_registry(f"oci://127.0.0.1:{port}/plant")
        assert registry.put("bolt", blob, content, siblings=("nut",)) == (0 if allowed else len(content))
        assert registry.has("bolt", blob)


HASHED = "$2b$04$abcdefghijklmnopqrstuuobWAwU.gzXqsCRomESXjO5pVqv0XeMi"  # bcrypt of s:crét


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of docker-registry with the user ann and the password s:crét."""
    path = tmp_path_factory.mktemp("passwords") / "htpasswd"
    path.write_text(f"ann:{HASHED}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("way", ["environment", "docker"])
def test_a_login_comes_from_the_environment_or_from_dockers_configuration(
    way: str, passwords: Path, two_versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ORAS_USER", "ORAS_PASS", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    auth = {"htpasswd": {"realm": "plant", "path": str(passwords)}}
    with docker_registry(tmp_path / "registry", auth=auth) as server:
        address = f"oci://127.0.0.1:{server.port}/plant"
        with pytest.raises(DataError, match="expected to be let in.*docker login"):
            push(two_versions[0], open_registry(address), Reference("bolt"))
        if way == "environment":
            monkeypatch.setenv("ORAS_USER", "ann")
            monkeypatch.setenv("ORAS_PASS", "s:crét")
        else:
            login = base64.b64encode("ann:s:crét".encode()).decode()
            (tmp_path / ".docker").mkdir()
            config = {"auths": {f"127.0.0.1:{server.port}": {"auth": login}}}
            (tmp_path / ".docker" / "config.json").write_text(json.dumps(config), encoding="utf-8")
        registry = open_registry(address)
        pushed = push(two_versions[0], registry, Reference("bolt"))
        assert hashlib.sha256(registry.manifest("bolt", pushed.tag)).hexdigest() == pushed.digest
        monkeypatch.setenv("ORAS_USER", "ann")
        monkeypatch.setenv("ORAS_PASS", "wrong")
        with pytest.raises(DataError, match="expected to be let in") as caught:
            open_registry(address).manifest("bolt", pushed.tag)
        assert "wrong" not in str(caught.value)


def test_a_certificate_is_checked(
    two_versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "certificates")
    certificate, key = authority.issue("registry")
    monkeypatch.setattr(oci_module, "LOCAL", ())  # so that this machine is spoken to with encryption
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    with docker_registry(tmp_path / "registry", http=tls) as server:
        address = f"oci://127.0.0.1:{server.port}/plant"
        with pytest.raises(DataError, match="expected a certificate that this machine trusts.*REQUESTS_CA_BUNDLE"):
            open_registry(address).manifest("bolt", "v1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
        registry = open_registry(address)
        pushed = push(two_versions[0], registry, Reference("bolt"))
        assert hashlib.sha256(registry.manifest("bolt", pushed.digest)).hexdigest() == pushed.digest
        with pytest.raises(MissingError):
            registry.manifest("bolt", "v1")


def test_nothing_is_printed_by_oras(false: FalseRegistry, capfd: pytest.CaptureFixture[str]) -> None:
    registry = open_registry(f"oci://127.0.0.1:{false.port}/plant")
    false.answers["/manifests/v1"] = lambda: _bearer("", "", false)
    with pytest.raises(DataError):
        registry.manifest("bolt", "v1")
    assert capfd.readouterr() == ("", "")
