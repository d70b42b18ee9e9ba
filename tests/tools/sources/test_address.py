"""Addresses: what FFmpeg gets, and what may be printed."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import pytest

from spade_edge.runtime import UsageError
from spade_edge.tools.sources import open_source
from spade_edge.tools.sources.address import Address, printable, without_secrets

HIDDEN = "zqx"  # in every password below, and in nothing else


@pytest.mark.parametrize(
    ("text", "user", "password", "place"),
    [
        ("rtsp://admin:zqx@192.168.0.20:554/live", "admin", "zqx", "192.168.0.20:554"),
        ("rtsp://admin:z/zqx@192.168.0.20/live", "admin", "z/zqx", "192.168.0.20"),
        ("rtsp://admin:12/zqx@192.168.0.20/live", "admin", "12/zqx", "192.168.0.20"),
        ("rtsp://admin:zqx?a#b@cam.local/live", "admin", "zqx?a#b", "cam.local"),
        ("rtsp://admin:p@zqx@cam.local:8554/live", "admin", "p@zqx", "cam.local:8554"),
        ("rtsp://admin:p@zqx/w@10.0.0.5/live", "admin", "p@zqx/w", "10.0.0.5"),
        ("rtsp://a@b.de:zqx@10.0.0.5/live", "a@b.de", "zqx", "10.0.0.5"),
        ("rtsp://admin:a:b:zqx@10.0.0.5/live", "admin", "a:b:zqx", "10.0.0.5"),
        ("rtsp://admin:100%zqx@10.0.0.5/live", "admin", "100%zqx", "10.0.0.5"),
        ("rtsp://admin:zqx%40%2F@10.0.0.5/live", "admin", "zqx@/", "10.0.0.5"),  # written in percent code already
        ("rtsp://admin:zqx ü@10.0.0.5/live", "admin", "zqx ü", "10.0.0.5"),
        ("rtsp://admin:zqx@[fe80::1]:554/live", "admin", "zqx", "[fe80::1]:554"),
        ("RTSP://admin:@10.0.0.5/live", "admin", "", "10.0.0.5"),
    ],
)
def test_user_and_password_reach_ffmpeg_and_no_message(text: str, user: str, password: str, place: str) -> None:
    address = Address.of(text)
    assert address.login == (user, password)
    assert re.search("%(?![0-9A-F]{2})", address.encoded) is None
    split = urlsplit(address.encoded)  # an independent reader
    assert (unquote(split.username or ""), unquote(split.password or "")) == (user, password)
    assert (split.scheme, split.netloc.rpartition("@")[2], split.path) == ("rtsp", place, "/live")
    assert "@" not in address.anonymous and address.anonymous == f"rtsp://{place}/live"
    assert printable(text).lower() == f"rtsp://{place}/live"
    assert HIDDEN not in without_secrets(f"cannot open '{text}'")


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("http://cam:8080/feed@2.0/x", "http://cam:8080/feed@2.0/x"),
        ("http://cam.local/x?mail=a@b.com", "http://cam.local/x?mail=a@b.com"),
        ("http://cam.local/my stream", "http://cam.local/my%20stream"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("udp://:1234", "udp://:1234"),
        ("tcp://0.0.0.0:9000?listen", "tcp://0.0.0.0:9000?listen"),
        ("rtsp://münchen.de/x", "rtsp://xn--mnchen-3ya.de/x"),
    ],
)
def test_an_address_without_a_password_stays_as_it_is(text: str, encoded: str) -> None:
    assert Address.of(text).encoded == encoded and Address.of(text).login is None


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://[::1",
        "rtsp://[nonsense]/x",
        "rtsp://cam:99999/x",
        "rtsp://cam:0/x",
        "rtsp://cam:port/x",
        "rtsp:///x",
        "rtsp://",
        "http://:80/x",
        "rtsp://u:zqx@/x",
        "rtsp://u:zqx@cam\n/x",
        "rtsp://u:zqx@cam\x1b[31m/x",
        f"rtsp://{'a' * 64}.de/x",
        f"rtsp://ü{'a' * 64}.de/x",
        "rtsp://ca m/x",
        "rtsp://-cam/x",
        "rtmp://u:zqx@host/live",
        "ftp://host/x",
        "rtsp:/u:zqx@host/x",
        "rtsp//u:zqx@host/x",
        "rtsp:\\\\u:zqx@host\\x",
        " rtsp://u:zqx@host/x",
        "'rtsp://u:zqx@host/x'",
        "u:zqx@host:554/x",
        "csi://u:zqx@host",
    ],
)
def test_what_cannot_be_an_address_is_wrong_usage_in_one_line(source: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_source(source)
    message = str(refused.value)
    assert message.isprintable() and HIDDEN not in message and "expected" in message


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("0", "camera 0"),
        ("/dev/video1", "/dev/video1"),
        ("new parts/a.png", "new parts/a.png"),
        ("parts@2x/a.png", "parts@2x/a.png"),
        ("csi://0", "csi://0"),
        ("rtspsrc location=rtsp://u:zqx@h/x user-pw=zqx ! decodebin ! appsink", "pipeline rtspsrc"),
        ('rtspsrc location="rtsp://u:zqx@h/x" ! d', "pipeline rtspsrc"),
        ("location=rtsp://u:zqx@h/x ! d", "pipeline"),
        ("rtsp://h/user=admin&password=zqx&channel=1", "rtsp://h/…"),
        ("rtsp://h:554/user=admin_password=zqx_channel=1_stream=0.sdp?real_stream", "rtsp://h:554/…"),
        ("rtsp://h/a%3Fpassword%3Dzqx", "rtsp://h/…"),
        ("http://h/token/zqx/live", "http://h/token/…/live"),
        ("http://h/live?token=zqx", "http://h/live"),
        ("http://h/live;pwd=zqx", "http://h/live"),
        ("rtsp://u:zqx@h/x@y", "rtsp://y"),
    ],
)
def test_what_is_printed_of_a_source(source: str, shown: str) -> None:
    assert printable(source) == shown


@pytest.mark.parametrize(
    "message",
    [
        "[Errno 111] Connection refused: 'rtsp://u:z/zqx@h:1/x?pwd=zqx'",
        'rtspsrc location="rtsp://u:zqx@h/x" user-id=admin user-pw="zqx zqx" proxy-pw=zqx ! d',
        "rtspsrc location=rtsp://h/x user-pw='zqx' proxy-id=zqx",
        "rtspsrc user-pw=(string)zqx",
        "http://h/cgi?usr=a&pwd=zqx",
        "http://h/cgi?zqx",
        "rtsp://h/user=admin_password=zqx_channel=1",
        "api_key=zqx, access-token=zqx; secret=zqx",
    ],
)
def test_messages_of_others_lose_their_secrets(message: str) -> None:
    assert HIDDEN not in without_secrets(message)


@pytest.mark.parametrize(
    "message",
    [
        "a.png: expected an image of at most 2 GB, found 3 bytes",
        "parts@2x/a.png: found 12 of 13: is --raw right?",
        "rtsp://h:554/x: expected a camera that opens, found Connection refused; check address, password and network",
    ],
)
def test_other_messages_stay_as_they_are(message: str) -> None:
    assert without_secrets(message) == message
