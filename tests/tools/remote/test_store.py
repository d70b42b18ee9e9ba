"""Stores: folders, a real S3 server and a real web server, whole and broken."""

from __future__ import annotations

import errno
import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, repeat
from pathlib import Path

import numpy as np
import pytest
from interrupted_writes import SPACE, Killed, stopping
from object_stores import S3, answering, breaking_off, refusing, s3_server, web_server

from spade_edge.runtime.errors import DataError, DeviceError, UsageError
from spade_edge.tools.remote import MissingError, Store, UnreachableError, divided, filesystem, store

ODD = (
    "plain.png",
    "deep/er/a b.png",
    "what?#1.png",
    "100%25.png",
    "ünïcode/ß.png",
    "c::d.png",
    "a&b=c;d.png",
    "..x.png",
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(store, "SOONEST", 0.0)


@pytest.fixture(params=["folder", "file", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a place to write to, where nothing is yet."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3').bucket()}/some where"
    return f"file://{tmp_path}/some where" if request.param == "file" else str(tmp_path / "some where")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Every kind of place


def test_what_is_put_is_there_under_its_name(address: str, tmp_path: Path) -> None:
    place = Store(address)
    for name in ODD:
        place.put(name, name.encode())
    found = {file.name: file for file in place.listed()}
    assert list(found) == sorted(ODD)
    for name in ODD:
        content = name.encode()
        assert found[name].size == len(content) and found[name].time is not None and found[name].mark
        assert place.read(name, most=100) == content
        assert place.fetch(name, tmp_path / "copy", sha256=sha(content), size=len(content)) == sha(content)
        assert (tmp_path / "copy").read_bytes() == content
        assert place.exists(name)


def test_a_large_file_comes_and_goes_whole(address: str, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes((9 << 20) + 17)
    (tmp_path / "source").write_bytes(content)
    place = Store(address)
    place.put("large.bin", tmp_path / "source")
    assert place.fetch("large.bin", tmp_path / "a") == sha(content)
    assert place.fetch("large.bin", tmp_path / "b", sha256=sha(content), size=len(content)) == sha(content)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == content


@pytest.mark.parametrize(
    "size", [1, filesystem.BLOCK - 1, filesystem.BLOCK, filesystem.BLOCK + 1, 2 * filesystem.BLOCK]
)
def test_parts_of_a_file_meet_at_their_edges(size: int, s3: S3, tmp_path: Path) -> None:
    content = np.random.default_rng(size).bytes(size)
    bucket = s3.bucket()
    s3.put(f"{bucket}/x", content)
    assert Store(bucket).fetch("x", tmp_path / "x", sha256=sha(content), size=size) == sha(content)
    s3.put(f"{bucket}/x", content + b"1")
    with pytest.raises(DataError, match=f"expected {size} bytes, found more"):
        Store(bucket).fetch("x", tmp_path / "x", sha256=sha(content), size=size)
    s3.put(f"{bucket}/x", content[:-1])
    with pytest.raises(DataError, match=f"expected {size} bytes, found {size - 1}"):
        Store(bucket).fetch("x", tmp_path / "x", sha256=sha(content), size=size)


def test_an_empty_file_is_a_file(address: str, tmp_path: Path) -> None:
    place = Store(address)
    place.put("empty", b"")
    assert place.read("empty", most=5) == b"" and place.exists("empty")
    assert place.fetch("empty", tmp_path / "copy", sha256=sha(b""), size=0) == sha(b"")


def test_what_is_replaced_or_removed_is_seen_at_once(address: str, tmp_path: Path) -> None:
    place, other = Store(address), Store(address)
    place.put("x", b"old")
    assert other.read("x", most=9) == b"old" and [file.size for file in other.listed()] == [3]
    place.put("x", b"newer")
    place.put("y", b"")
    assert other.read("x", most=9) == b"newer" and other.exists("y")
    assert [(file.name, file.size) for file in other.listed()] == [("x", 5), ("y", 0)]
    place.remove("x")
    place.remove("x")  # no error
    assert not other.exists("x") and [file.name for file in other.listed()] == ["y"]
    with pytest.raises(MissingError):
        other.read("x", most=9)


def test_what_is_missing_is_said_so(address: str, tmp_path: Path) -> None:
    place = Store(address)
    for call in (lambda: place.read("x", most=1), lambda: place.fetch("x", tmp_path / "copy")):
        with pytest.raises(MissingError, match="some where/x: expected a file, found none"):
            call()
    with pytest.raises(MissingError, match="expected files, found none"):
        list(place.listed())
    place.put("folder/x", b"")
    assert not place.exists("folder") and not place.exists("y")
    with pytest.raises(DataError):
        place.read("folder", most=1)
    assert not (tmp_path / "copy").exists()


def test_names_that_lead_elsewhere_are_refused(address: str, tmp_path: Path) -> None:
    place = Store(address)
    for name in ("../x", "a/../../x", "/etc/x", "a//b", "x\n", "x\0"):
        for call in (
            lambda name=name: place.put(name, b""),
            lambda name=name: place.read(name, most=1),
            lambda name=name: place.fetch(name, tmp_path / "copy"),
            lambda name=name: place.exists(name),
            lambda name=name: place.remove(name),
        ):
            with pytest.raises(DataError, match="expected a name below this address"):
                call()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_not_as_expected_is_refused_and_what_was_there_stays(address: str, tmp_path: Path) -> None:
    place, copy = Store(address), tmp_path / "copy"
    place.put("x", b"changed")
    copy.write_bytes(b"former")
    for expected, says in (
        ({"sha256": sha(b"as it was")}, "expected the SHA-256"),
        ({"sha256": sha(b"change"), "size": 6}, "expected 6 bytes, found more"),  # its beginning is as expected
        ({"size": 6}, "expected 6 bytes, found more"),
        ({"size": 8}, "expected 8 bytes, found 7"),
        ({"sha256": sha(b"changed"), "size": 8}, "expected 8 bytes, found 7"),
    ):
        with pytest.raises(DataError, match=says):
            place.fetch("x", copy, **expected)
        assert copy.read_bytes() == b"former"
    with pytest.raises(DataError, match="expected at most 6 bytes, found more"):
        place.read("x", most=6)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["copy"]


def test_a_full_disk_is_this_machines_fault_and_not_tried_again(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Store(address)
    place.put("x", b"content")
    (tmp_path / "copies").mkdir()
    with (
        caplog.at_level(logging.INFO),
        stopping(tmp_path / "copies", at=1, error=errno.ENOSPC, only=SPACE),
        pytest.raises(DataError, match=r"cannot write .*copies/x: No space left"),
    ):
        place.fetch("x", tmp_path / "copies" / "x")
    assert list((tmp_path / "copies").iterdir()) == []
    assert "try" not in caplog.text


# Folders


def test_a_writer_that_is_killed_anywhere_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    place = Store(str(tmp_path / "store"))
    (tmp_path / "source").write_bytes(b"new" * 1000)
    outcomes = set()
    for at in count(1):
        place.put("deep/x", b"old")
        with stopping(tmp_path / "store", at=at, error=Killed) as shim, suppress(Killed):
            place.put("deep/x", tmp_path / "source")
        outcomes.add(place.read("deep/x", most=9000))
        assert {file.name for file in place.listed()} == {"deep/x"}  # what is left of the other is not listed
        if shim.count < at:
            break
    assert outcomes == {b"old", b"new" * 1000} and at > 4


def test_a_folder_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    place = Store(str(tmp_path))
    place.put("x", b"1")
    assert place.read("x", most=1) == b"1"
    with pytest.raises(DeviceError, match=r"s3://plant needs fsspec.*pip install 'spade-edge\[remote\]'"):
        Store("s3://plant")


@pytest.mark.parametrize(
    ("address", "package", "extra"),
    [("gs://plant/x", "gcsfs", "gcs"), ("az://plant/x", "adlfs", "azure"), ("abfs://plant/x", "adlfs", "azure")],
)
def test_a_package_that_is_missing_is_named_by_its_extra(
    address: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DeviceError, match=rf"pip install 'spade-edge\[{extra}\]'"):
        Store(address)


def test_an_unknown_kind_of_address_is_refused() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError, match="expected an address such as s3://"):
        Store("s4://plant/x")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingError):
        Store(str(tmp_path)).read("pipe", most=1)


# Lost connections


@pytest.mark.usefixtures("_at_once")
def test_a_connection_that_breaks_off_is_tried_again(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = np.random.default_rng(1).bytes(300_000)
    bucket = s3.bucket()
    s3.put(f"{bucket}/x.png", content)
    with breaking_off(s3.port, 100_000, 250_000) as proxy, caplog.at_level(logging.INFO):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        assert Store(bucket).fetch("x.png", tmp_path / "copy", sha256=sha(content), size=300_000) == sha(content)
        assert proxy.connections == 3
    assert (tmp_path / "copy").read_bytes() == content
    assert "x.png: cannot be read: " in caplog.text and "try 2 of 5" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.usefixtures("_at_once")
def test_so_is_one_to_a_web_server(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    content = np.random.default_rng(1).bytes(300_000)
    (tmp_path / "x.png").write_bytes(content)
    with web_server(tmp_path) as url, breaking_off(int(url.rpartition(":")[2]), 100_000, 50_000) as proxy:
        place = Store(f"http://127.0.0.1:{proxy.port}")
        assert place.fetch("x.png", tmp_path / "copy") == sha(content)
        assert proxy.connections == 3


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_server_that_is_down_is_one_line(
    kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with refusing() as port:
        if kind == "s3":
            request.getfixturevalue("s3")  # the login
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        place = Store("s3://plant/x" if kind == "s3" else f"http://joe:geheim@127.0.0.1:{port}/x")
        for call in (
            lambda: place.read("y", most=1),
            lambda: list(place.listed()),
            lambda: place.exists("y"),
            *([lambda: place.put("y", b"")] if kind == "s3" else []),
        ):
            with pytest.raises(UnreachableError, match=r"cannot be .*; tried 5 times") as caught:
                call()
            assert "\n" not in str(caught.value) and "geheim" not in str(caught.value)


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("kind", ["s3", "http"])
def test_a_server_that_says_nothing_is_waited_for_so_long(
    kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import socket

    pytest.importorskip("s3fs")
    monkeypatch.setattr(filesystem, "SILENCE", 0.05)
    monkeypatch.setattr(store, "TRIES", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        if kind == "s3":
            request.getfixturevalue("s3")
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        place = Store("s3://plant" if kind == "s3" else f"http://127.0.0.1:{port}")
        with pytest.raises(UnreachableError, match="tried 2 times"):
            place.read("x", most=1)


class Resetting:
    """A file whose connection is reset, which is an OSError like that of a full disk."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._resets = 2

    def opened(self, name: str, *, size: int | None) -> Resetting:
        self._left = [self._content[:4], self._content[4:], b""]
        return self

    def __enter__(self) -> Resetting:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def read(self, count: int) -> bytes:
        if len(self._left) == 2 and self._resets:
            self._resets -= 1
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return self._left.pop(0)

    def passes(self, problem: Exception) -> bool:
        return True


@pytest.mark.usefixtures("_at_once")
def test_a_reset_connection_is_not_taken_for_a_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "connected", lambda address: Resetting(b"content"))
    assert Store("s3://plant").fetch("x", tmp_path / "copy") == sha(b"content")
    assert (tmp_path / "copy").read_bytes() == b"content"


REFUSED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("kind", ["s3", "http"])
@pytest.mark.parametrize("status", [401, 403])
def test_who_is_refused_does_not_ask_again(
    kind: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("s3fs")
    asked = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return status, {"Content-Type": "application/xml"}, REFUSED

    with answering(answer) as port:
        if kind == "s3":
            request.getfixturevalue("s3")
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        place = Store("s3://plant" if kind == "s3" else f"http://127.0.0.1:{port}")
        with pytest.raises(DataError) as caught:
            place.fetch("x.png", tmp_path / "copy", sha256=sha(b""), size=1)
    assert not isinstance(caught.value, (MissingError, UnreachableError)) and len(asked) == 1


@pytest.mark.usefixtures("_at_once")
def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    statuses = iter((503, 429, 500, 502))

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return next(statuses, 200), {}, b"content"

    with answering(answer) as port:
        assert Store(f"http://127.0.0.1:{port}").fetch("x", tmp_path / "copy") == sha(b"content")

    def busy(path: str) -> tuple[int, dict[str, str], bytes]:
        return 503, {}, b""

    with answering(busy) as port, pytest.raises(UnreachableError, match="503"):
        Store(f"http://127.0.0.1:{port}").fetch("x", tmp_path / "copy")


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with answering(lambda path: (200, {}, repeat(b"x" * 65536))) as port:
        place = Store(f"http://127.0.0.1:{port}")
        with pytest.raises(DataError, match="expected 1000 bytes, found more"):
            place.fetch("x", tmp_path / "copy", size=1000)
        with pytest.raises(DataError, match="expected at most 1000 bytes"):
            place.read("x", most=1000)
    assert list(tmp_path.iterdir()) == []


# Object stores


def test_a_bucket_that_is_not_there(s3: S3) -> None:
    place = Store("s3://nobodys-bucket/x")
    with pytest.raises(MissingError, match="expected files, found none"):
        list(place.listed())
    with pytest.raises(DataError, match="expected a bucket of that name, found none"):
        place.put("y", b"")


def test_a_folder_with_the_same_beginning_is_another_folder(s3: S3) -> None:
    bucket = s3.bucket()
    s3.put(f"{bucket}/bolts/x.png", b"1")
    s3.put(f"{bucket}/bolts-old/y.png", b"2")
    s3.put(f"{bucket}/bolts/", b"")  # as consoles make folders
    assert [file.name for file in Store(f"{bucket}/bolts").listed()] == ["x.png"]


def test_keys_that_no_folder_can_hold_are_listed_as_they_are(s3: S3) -> None:
    bucket = s3.bucket()
    s3.put(f"{bucket}/good/../evil.png", b"1")
    s3.put(f"{bucket}/good/fine.png", b"1")
    names = [file.name for file in Store(f"{bucket}/good").listed()]
    assert "fine.png" in names and set(names) <= {"fine.png", "../evil.png"}


def test_a_key_with_two_slashes_is_not_taken_for_another(s3: S3) -> None:
    bucket = s3.bucket()
    s3.put(f"{bucket}/good//x.png", b"1")
    s3.put(f"{bucket}/good/x.png", b"22")
    place = Store(f"{bucket}/good")
    assert [(file.name, file.size) for file in place.listed()] == [("/x.png", 1), ("x.png", 2)]
    with pytest.raises(DataError, match="expected a name below this address"):
        place.read("/x.png", most=9)


@pytest.mark.parametrize("password", ["geheim", "geh/eim", "g@h/eim", "ge/h@eim"])
def test_a_login_in_the_address_of_a_bucket_is_refused_and_not_told(password: str) -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(UsageError, match="expected an address without user and password") as caught:
        Store(f"s3://joe:{password}@plant/x")
    assert "ge" not in str(caught.value).partition(";")[0]
    with pytest.raises(UsageError, match="expected an address without user and password") as caught:
        Store(divided(f"s3://joe:{password}@plant/x.png")[0])
    assert "ge" not in str(caught.value).partition(";")[0]


@pytest.mark.parametrize("password", ["geh/eim", "ge/h@eim", "geh/1"])
def test_a_slash_in_the_password_of_a_web_server_is_no_path(password: str) -> None:
    pytest.importorskip("aiohttp")
    address = f"https://joe:{password}@plant/x.png"
    for place in (address, divided(address)[0]):
        with pytest.raises(UsageError, match=r"https://…: expected a port .*; in a user name .* %2F") as caught:
            Store(place)
        assert "ge" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://[::1]:80/x:y@z", "http://[::1]/x", "http://plant:8080?x=a:b", "http://joe:a:b@plant/x", "http://h:1"],
)
def test_hosts_and_ports_of_web_servers(address: str) -> None:
    pytest.importorskip("aiohttp")
    Store(address)


def test_a_bucket_may_be_called_by_its_arn() -> None:
    pytest.importorskip("s3fs", minversion="2025.0", reason="older ones take an ARN for a host with a port")
    Store("s3://arn:aws:s3:eu-central-1:123456789012:accesspoint/plant/bolts@home")


def test_a_name_that_s3fs_would_cut_is_refused(s3: S3) -> None:
    with pytest.raises(DataError, match=r"without \?versionId="):
        Store(s3.bucket()).put("x?versionId=3.png", b"")


def test_a_machine_without_a_login_is_told_so(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(DataError, match="credentials.*; give a login") as caught:
        Store("s3://plant").read("x", most=1)
    assert not isinstance(caught.value, UnreachableError)


def test_settings_that_cannot_be_used_are_said(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(DataError, match="nobody"):
        Store("s3://plant")


# Web servers


def test_a_web_server_is_listed_by_its_links(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    for name in ODD:
        (tmp_path / "good" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "good" / name).write_bytes(name.encode())
    (tmp_path / "other.png").write_bytes(b"")
    with web_server(tmp_path) as url:
        place = Store(f"{url}/good")
        found = [file.name for file in place.listed()]
        assert found == sorted(ODD)
        for name in found:
            assert place.read(name, most=100) == name.encode()
            assert place.exists(name)
        assert not place.exists("none")
        (tmp_path / "good" / "plain.png").write_bytes(b"other")
        (tmp_path / "good" / "new.png").write_bytes(b"")
        assert place.read("plain.png", most=100) == b"other"
        assert "new.png" in [file.name for file in place.listed()]
        with pytest.raises(DataError, match="cannot be written"):
            place.put("x", b"")


PAGE = b"""<html><a href="?C=N;O=D">Name</a> <a href="/">up</a> <a href="/top/">here</a> <a href="../">..</a>
<A class="x" HREF='a%20b.png'>a b</A> <a href=c.png#part>c</a> <a href="sub/">sub</a> <a href="http://other/x.png">x</a>
<a href="/top/d&amp;e.png">d</a> <a href="//other/y.png">y</a> <a href="javascript:x.png">z</a></html>"""


def test_links_that_lead_elsewhere_or_in_circles_are_left_alone() -> None:
    pytest.importorskip("aiohttp")
    asked = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return 200, {"Content-Type": "text/html"}, PAGE if path == "/top/" else b'<a href="/top/">top</a><a href="z">'

    with answering(answer) as port:
        found = [file.name for file in Store(f"http://127.0.0.1:{port}/top").listed()]
    assert found == ["a b.png", "c.png", "d&e.png", "sub/z"]
    assert sorted(asked) == ["/top/", "/top/sub/"]


def test_a_labyrinth_of_pages_ends() -> None:
    pytest.importorskip("aiohttp")
    with (
        answering(lambda path: (200, {}, b'<a href="a/">a</a>')) as port,
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(DataError, match="more than 20 index pages"),
    ):
        patch.setattr(filesystem, "PAGES", 20)
        list(Store(f"http://127.0.0.1:{port}").listed())


def test_many_files_are_no_labyrinth(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(filesystem, "PAGES", 3)
    page = b"".join(b'<a href="%d.png">' % number for number in range(20)) + b'<a href="later/">'

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, page if path == "/" else b'<a href="x.png">'

    with answering(answer) as port:
        assert len(list(Store(f"http://127.0.0.1:{port}").listed())) == 21


def test_a_signed_address_is_read_as_it_is_and_not_told(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    asked = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        asked.append(path)
        return (200, {}, b"x") if "sig=a%2Fb" in path else (403, {}, b"")

    with answering(answer) as port:
        assert Store(f"http://127.0.0.1:{port}/x.png?sig=a%2Fb").fetch("", tmp_path / "copy") == sha(b"x")
        with pytest.raises(DataError) as caught:
            Store(f"http://127.0.0.1:{port}/x.png?sig=geheim").fetch("", tmp_path / "copy")
    assert "geheim" not in str(caught.value) and "x.png" in str(caught.value)
    assert asked[0] == "/x.png?sig=a%2Fb"


@pytest.mark.parametrize("where", ["address", "netrc"])
def test_a_login_of_a_web_server(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    from http.server import BaseHTTPRequestHandler

    from object_stores import serving

    pytest.importorskip("aiohttp")
    wanted = "Basic " + base64.b64encode(b"joe:ge%heim").decode()

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers.get("Authorization") == wanted else 401)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, format: str, *args: object) -> None:
            pass

    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin joe\npassword ge%heim\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    with serving(Guarded) as port:
        monkeypatch.setenv("NETRC", str(tmp_path / "empty"))
        (tmp_path / "empty").touch()
        with pytest.raises(DataError, match="401"):
            Store(f"http://127.0.0.1:{port}/x").read("y", most=1)
        if where == "netrc":
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        login = "joe:ge%25heim@" if where == "address" else ""
        assert Store(f"http://{login}127.0.0.1:{port}/x").read("y", most=1) == b"x"
