"""The reader of a line's configuration: what it takes, every mistake with its line, and hostile files."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

import pytest

from spade_edge.runtime import DeviceError, SpadeError, UsageError
from spade_edge.tools.line.configuration.description import options_of, tables
from spade_edge.tools.line.configuration.mistake import Mistake
from spade_edge.tools.line.configuration.options import (
    FileOptions,
    GpioOptions,
    LineConfiguration,
    LineOptions,
    MqttOptions,
    OpcUaOptions,
    WebhookOptions,
)
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.line.configuration.source import open_camera
from spade_edge.tools.line.outputs.opening import make_output

GOOD = """\
# a line
[line]
name = "press-3"
heartbeat_ms = 500
watchdog_s = 2
require_signature = ["keys/a.pub", "/etc/b.pub"]

[recipe.cap]
bundle = "cap.spade"
[recipe.lid]
bundle = "/srv/lid.spade"
number = 7

[camera.top]
source = "0"
recipe = "cap"
deadline_ms = 150
trigger = "message"
frame_after_ms = 20
[camera.side]
source = "watch:incoming"
recipe = "lid"
deadline_ms = 300
linescan = 512
line_overlap = 16

[output.plc]
kind = "opc_ua"
username = "plc"
password_file = "plc-password"
commands = true
[output.gate]
kind = "gpio"
line = 17
cameras = ["top"]
[output.log]
kind = "file"
path = "decisions.jsonl"
rotate = "10 MB"
[output.mes]
kind = "webhook"
url = "https://mes.example:8443/x?y=1"
verdicts = ["defect", "late"]
[output.broker]
kind = "mqtt"
host = "192.168.0.10"
tls = true
cert_file = "client.pem"
key_file = "client.key"

[evidence]
folder = "evidence"
budget = "1.5 GiB"
[page]
hosts = ["line3.plant", "10.0.0.1"]
"""
LEAST = '[recipe.r]\nbundle = "b"\n[camera.c]\nsource = "0"\nrecipe = "r"\ndeadline_ms = 100\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "line.toml"


def found(file: Path, text: str) -> tuple[Mistake, ...]:
    """The mistakes of a text; `read` must agree that there are some."""
    file.write_text(text, encoding="utf-8")
    several = mistakes(file)
    if several:
        with pytest.raises(UsageError):
            read(file)
    else:
        read(file)
    return several


def only(file: Path, text: str) -> Mistake:
    (one,) = found(file, text)
    return one


def test_a_file_is_read(file: Path) -> None:
    file.write_text(GOOD)
    configuration = read(file)
    folder = file.parent
    assert mistakes(file) == ()
    assert configuration.line == LineOptions(
        name="press-3",
        heartbeat_ms=500,
        watchdog_s=2.0,
        require_signature=(folder / "keys/a.pub", Path("/etc/b.pub")),
    )
    assert isinstance(configuration.line.watchdog_s, float)
    assert list(configuration.recipes) == ["cap", "lid"]
    assert configuration.recipes["cap"].bundle == folder / "cap.spade"
    assert (configuration.recipes["lid"].number, configuration.recipes["cap"].number) == (7, None)
    assert configuration.cameras["top"].source == "0"
    assert configuration.cameras["side"].source == f"watch:{folder}/incoming"
    assert configuration.outputs == {
        "plc": OpcUaOptions(commands=True, username="plc", password_file=folder / "plc-password"),
        "gate": GpioOptions(line=17, cameras=("top",)),
        "log": FileOptions(path=folder / "decisions.jsonl", rotate=10_000_000),
        "mes": WebhookOptions(url="https://mes.example:8443/x?y=1", verdicts=("defect", "late")),
        "broker": MqttOptions(
            host="192.168.0.10", tls=True, cert_file=folder / "client.pem", key_file=folder / "client.key"
        ),
    }
    assert configuration.evidence is not None and configuration.evidence.budget == 1.5 * 2**30
    assert configuration.page is not None and configuration.page.hosts == ("line3.plant", "10.0.0.1")


def test_the_least_that_a_file_needs(file: Path) -> None:
    file.write_text(LEAST)
    configuration = read(file)
    assert configuration == LineConfiguration(
        line=LineOptions(), recipes=configuration.recipes, cameras=configuration.cameras, outputs={}
    )


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_of_windows_are_read(file: Path, mark: bytes) -> None:
    content = mark + LEAST.replace("\n", "\r\n").encode()
    file.write_bytes(content)
    assert mistakes(file) == ()
    file.write_bytes(content.replace(b"deadline_ms = 100", b"deadline_ms = 0"))
    (one,) = mistakes(file)
    assert one.line == 6


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/line.toml").write_text(LEAST.replace('"0"', '"parts"'))
    monkeypatch.chdir(tmp_path)
    configuration = read(Path("a/line.toml"))
    assert configuration.recipes["r"].bundle == tmp_path / "a/b"
    assert configuration.cameras["c"].source == str(tmp_path / "a/parts")


@pytest.mark.parametrize(
    "source",
    [
        "12",
        "/dev/video0",
        "rtsp://u:p@192.168.0.2/live",
        "genicam:",
        "genicam:AB/1",
        "csi://0",
        "-",
        "videotestsrc ! x",
    ],
)
def test_sources_that_are_no_paths_stay_as_they_are(file: Path, source: str) -> None:
    file.write_text(LEAST.replace('"0"', f'"{source}"'))
    assert read(file).cameras["c"].source == source


# What is wrong, in a file that is right apart from it: text, line, table, key, and part of the message.
MISTAKES = {
    "a number in quotes": (
        LEAST.replace("= 100", '= "100"'), 6, "camera.c", "deadline_ms",
        'expected a whole number from 1 to 600000, found "100"; write 100 without quotes',
    ),
    "a fraction": (LEAST.replace("= 100", "= 1.5"), 6, "camera.c", "deadline_ms", "found 1.5; write 2"),
    "a whole fraction": (LEAST.replace("= 100", "= 150.0"), 6, "camera.c", "deadline_ms", "found 150.0; write 150,"),
    "true as a number": (LEAST.replace("= 100", "= true"), 6, "camera.c", "deadline_ms", "found true"),
    "zero": (LEAST.replace("= 100", "= 0"), 6, "camera.c", "deadline_ms", "raise it to 1"),
    "too much": (LEAST.replace("= 100", "= 600001"), 6, "camera.c", "deadline_ms", "lower it to 600000"),
    "huge": (LEAST.replace("= 100", "= 1" + "0" * 400), 6, "camera.c", "deadline_ms", "more than 15 digits"),
    "huge hexadecimal": (LEAST.replace("= 100", "= 0x1" + "0" * 1000), 6, "camera.c", "deadline_ms", "15 digits"),
    "nan": (LEAST + "stall_s = nan", 7, "camera.c", "stall_s", "found nan; write a number that is finite"),
    "inf": (LEAST + "stall_s = -inf", 7, "camera.c", "stall_s", "found -inf"),
    "a date": (LEAST.replace('"r"', "1979-05-27"), 5, "camera.c", "recipe", "found a date"),
    "a list": (LEAST.replace('"r"', '["r"]'), 5, "camera.c", "recipe", "found a list"),
    "a table": (LEAST.replace('"r"', "{a = 1}"), 5, "camera.c", "recipe", "found a table"),
    "a number as text": (LEAST.replace('"0"', "0"), 4, "camera.c", "source", 'found 0; write "0", in quotes'),
    "text as truth": (LEAST + 'numbered = "true"', 7, "camera.c", "numbered", "write true without quotes"),
    "a number as truth": (LEAST + "numbered = 1", 7, "camera.c", "numbered", "expected true or false, found 1"),
    "another choice": (LEAST + 'channels = "RGB"', 7, "camera.c", "channels", 'or rgb, found "RGB"; write rgb'),
    "empty": (LEAST.replace('"b"', '""'), 2, "recipe.r", "bundle", "an empty text"),
    "a home": (LEAST.replace('"b"', '"~/b"'), 2, "recipe.r", "bundle", "write the home folder out"),
    "control characters": (LEAST.replace('"b"', r'"b\u0000"'), 2, "recipe.r", "bundle", "without control characters"),
    "spaces": (LEAST.replace('"b"', '"b "'), 2, "recipe.r", "bundle", "without spaces at its ends"),
    "long": (LEAST.replace('"b"', '"""' + ("a" * 900 + "\\\n") * 5 + '"""'), 2, "recipe.r", "bundle", "at most 4096 c"),
    "a key that is like another": (LEAST + "stal_s = 1", 7, "camera.c", "stal_s", "write stall_s"),
    "a key of another table": (LEAST + "budget = 1", 7, "camera.c", "budget", "it belongs to [evidence]"),
    "an unknown key": (LEAST + "zzz = 1", 7, "camera.c", "zzz", "known are source, recipe"),
    "a key above all": ("name = 'x'\n" + LEAST, 1, "", "name", "it belongs to [line]"),
    "a table that is like another": (LEAST + "[outputs.x]", 7, "outputs", "", "write [output.NAME]"),
    "an unknown table": (LEAST + "[zzz]", 7, "zzz", "", "remove it"),
    "a list of tables": (LEAST + "[[output]]\nkind = 'file'", 7, "output", "", "write [output.NAME]"),
    "a list of named tables": (LEAST + "[[output.x]]\nkind = 'file'", 7, "output.x", "", "write [output.x]"),
    "a value as table": (LEAST + "[evidence]\nfolder = 'e'\n[line]\n[output]\nx = 1", 11,
                         "output", "x", "write [output.NAME] above"),
    "a line that is none": ("line = 1\n" + LEAST, 1, "line", "", "expected a table [line], found 1"),
    "a name": (LEAST + '[recipe."a.b"]\nbundle = "b"', 7, "recipe.a.b", "", "expected a name of 1 to 64 letters"),
    "a long name": (LEAST + f'[recipe.{"a" * 65}]\nbundle = "b"', 7, f"recipe.{'a' * 59}…", "", "a name of 1 to 64"),
    "a name with an umlaut": (LEAST + '[recipe."ä"]\nbundle = "b"', 7, "recipe.ä", "", "letters (A to Z)"),
    "the name of the line": (LEAST + '[line]\nname = "a/b"', 8, "line", "name", "1 to 64 letters"),
    "a missing key": (LEAST.replace("deadline_ms = 100\n", ""), 3, "camera.c", "deadline_ms", "add deadline_ms: mill"),
    "no camera": ('[recipe.r]\nbundle = "b"\n', None, "camera", "", "expected at least one table [camera.NAME]"),
    "no recipe": (LEAST.replace('"r"', '"s"'), 5, "camera.c", "recipe", "the name of a recipe of this file (r)"),
    "a recipe that is like another": (
        LEAST.replace("recipe.r]", "recipe.cap]").replace('"r"', '"caps"'), 5, "camera.c", "recipe", 'write "cap"',
    ),
    "no such camera": (
        LEAST + "[output.o]\nkind = 'modbus'\ncameras = [\n  'c', # ok\n  'd',\n]", 11, "output.o", "cameras",
        'expected the name of a camera of this file (c), found "d"',
    ),
    "text for a list": (LEAST + "[output.o]\nkind = 'modbus'\ncameras = 'c'", 9, "output.o", "cameras", 'write ["c"]'),
    "an entry": (LEAST + "[output.o]\nkind = 'modbus'\ncameras = ['c',\n\n3]", 11, "output.o", "cameras", "found 3"),
    "a kind": (LEAST + "[output.o]\nkind = 'MQTT'", 8, "output.o", "kind", 'write "mqtt"'),
    "an unknown kind": (LEAST + "[output.o]\nkind = 'profinet'", 8, "output.o", "kind", "one of mqtt, opc_ua, "),
    "a kind that is no text": (LEAST + "[output.o]\nkind = []", 8, "output.o", "kind", "found a list"),
    "no kind": (LEAST + "[output.o]\nhost = 'h'", 7, "output.o", "kind", "found none; add it"),
    "a size": (LEAST + "[evidence]\nfolder = 'e'\nbudget = '20 gigs'", 9, "evidence", "budget", "write it like"),
    "a small size": (LEAST + "[evidence]\nfolder = 'e'\nbudget = '9 MB'", 9, "evidence", "budget", "raise it to 10 MB"),
    "a size below zero": (LEAST + "[evidence]\nfolder = 'e'\nbudget = -1", 9, "evidence", "budget", "found -1"),
    "no size": (LEAST + "[evidence]\nfolder = 'e'\nbudget = nan", 9, "evidence", "budget", "found nan"),
    "a share": (LEAST + "[evidence]\nfolder = 'e'\ngood_share = 1.01", 9, "evidence", "good_share", "lower it to 1"),
    "an address without a port": (LEAST + "[page]\nlisten = '127.0.0.1'", 8, "page", "listen", "an address and a port"),
    "an address without a host": (LEAST + "[page]\nlisten = ':80'", 8, "page", "listen", "an address and a port"),
    "port 0": (LEAST + "[page]\nlisten = '[::1]:0'", 8, "page", "listen", "an address and a port"),
    "port 65536": (LEAST + "[page]\nlisten = 'localhost:65536'", 8, "page", "listen", "an address and a port"),
    "a host": (LEAST + "[page]\nhosts = ['a', 'b/c']", 8, "page", "hosts", "a host name"),
    "a broker": (LEAST + "[output.o]\nkind='mqtt'\nhost='mqtt://h'", 9, "output.o", "host", "a host name or an IP"),
    "a topic": (LEAST + "[output.o]\nkind='mqtt'\nhost='h'\ntopic='a/#'", 10, "output.o", "topic", "without + and #"),
    "the end of a topic": (LEAST + "[output.o]\nkind='mqtt'\nhost='h'\ntopic='a/'", 10, "output.o", "topic", "levels"),
    "an empty level of a topic": (
        LEAST + "[output.o]\nkind='mqtt'\nhost='h'\ntopic='a//b'", 10, "output.o", "topic", "levels",
    ),
    "an address that is no ASCII": (
        LEAST + "[output.o]\nkind='webhook'\nurl='http://h/ä'", 9, "output.o", "url", "http:// or https://",
    ),
    "an ending": (LEAST + "[output.o]\nkind='file'\npath='a.txt'", 9, "output.o", "path", ".jsonl or .csv"),
    "ftp": (LEAST + "[output.o]\nkind='webhook'\nurl='ftp://h/x'", 9, "output.o", "url", "http:// or https://"),
    "a login": (LEAST + "[output.o]\nkind='webhook'\nurl='http://u:geheim@h/'", 9, "output.o", "url", "without user"),
    # several options
    "an overlap alone": (LEAST + "line_overlap = 3", 7, "camera.c", "line_overlap", "expected linescan beside it"),
    "an overlap too large": (
        LEAST + "linescan = 8\nline_overlap = 8", 8, "camera.c", "line_overlap", "expected fewer lines than the 8",
    ),
    "one frozen frame": (LEAST + "frozen = 1", 7, "camera.c", "frozen", "at least 2"),
    "frame_after_ms alone": (LEAST + "frame_after_ms = 1", 7, "camera.c", "frame_after_ms", 'trigger = "message"'),
    "messages from nowhere": (LEAST + "trigger = 'message'", 7, "camera.c", "trigger", "an output with commands"),
    "a page without a token": (
        LEAST + "trigger = 'message'\n[page]\nlisten = '127.0.0.1:1'", 7, "camera.c", "trigger", "a token_file",
    ),
    "ca_file without tls": (
        LEAST + "[output.o]\nkind='mqtt'\nhost='h'\nca_file='c'", 10, "output.o", "ca_file", "tls = true beside it",
    ),
    "cert_file alone": (LEAST + "[page]\ncert_file='c'", 8, "page", "cert_file", "expected key_file beside it"),
    "key_file alone": (
        LEAST + "[output.o]\nkind='opc_ua'\nkey_file='c'", 9, "output.o", "key_file", "expected cert_file beside it",
    ),
    "username alone": (
        LEAST + "[output.o]\nkind='mqtt'\nhost='h'\nusername='c'", 10, "output.o", "username", "password_file beside",
    ),
    "an empty username": (
        LEAST + "[output.o]\nkind='opc_ua'\nusername=''\npassword_file='p'", 10, "output.o", "password_file", "user",
    ),
    "ca_file with http": (
        LEAST + "[output.o]\nkind='webhook'\nurl='http://h/'\nca_file='c'", 10, "output.o", "ca_file", "https://",
    ),
    "numbers twice": (
        LEAST + "[recipe.s]\nbundle='s'\nnumber = 2\n[recipe.t]\nbundle='t'\nnumber = 2", 12, "recipe.t", "number",
        "found 2, which recipe.s has",
    ),
    "a number by place": (LEAST + "[recipe.s]\nbundle='s'\nnumber = 1", 1, "recipe.r", "", "so 1 by its place"),
    "commands for everyone": (
        LEAST + "[output.o]\nkind='opc_ua'\ncommands=true", 9, "output.o", "commands", "username and password_file",
    ),
    "a pulse before the decision": (
        LEAST + "[output.o]\nkind='gpio'\nline=1\ndelay_ms=99", 10, "output.o", "delay_ms", "at least 100, the dead",
    ),
    "a camera twice": (
        LEAST + '[camera.d]\nsource = "/dev/video0"\nrecipe = "r"\ndeadline_ms = 1', 8, "camera.d", "source",
        "which camera.c has",
    ),
    "a port twice": (
        LEAST + "[output.o]\nkind='opc_ua'\nlisten='0.0.0.0:8080'\n[page]\nlisten = '127.0.0.1:8080'", 11, "page",
        "listen", "port 8080, on which output.o listens",
    ),
    "the default port twice": (
        LEAST + "[output.o]\nkind='modbus'\n[output.p]\nkind='modbus'", 9, "output.p", "listen", "port 5020",
    ),
    "a file twice": (
        LEAST + "[output.o]\nkind='file'\npath='a.csv'\n[output.p]\nkind='file'\npath='x/../a.csv'", 12, "output.p",
        "path", "found that of output.o",
    ),
    "a line of a chip twice": (
        LEAST + "[output.o]\nkind='gpio'\nline=1\n[output.p]\nkind='gpio'\nline=2\nready_line=1", 13, "output.p",
        "ready_line", "line of output.o has",
    ),
    "a file in the evidence": (
        LEAST + "[evidence]\nfolder='e'\n[output.o]\nkind='file'\npath='e/a.csv'", 8, "evidence", "folder", "output.o",
    ),
    "evidence where a camera would see it": (
        LEAST.replace('"0"', '"watch:in"') + "[evidence]\nfolder='in/e'", 8, "evidence", "folder", "camera.c",
    ),
    "a bundle in the evidence": (LEAST + "[evidence]\nfolder='.'", 8, "evidence", "folder", "the bundle of recipe.r"),
    # the file
    "no TOML": (LEAST + "x y", 7, "", "", "expected KEY = VALUE"),
    "no value": (LEAST + "x =", 7, "", "", "expected a value"),
    "text without quotes": (LEAST + "\nx = abc\n", 8, "", "", "put text in quotes"),
    "a key twice": (LEAST + "source = '1'\n", 7, "", "", "expected each table and each key only once"),
    "a table twice": (LEAST + "[recipe.r]\n", 7, "", "", "expected each table and each key only once"),
    "a text without end": (LEAST + "x = 'a\n", 7, "", "", "close"),
    "a backslash": (LEAST + 'x = "C:\\parts"\n', 7, "", "", "single quotes"),
    "a list without end": (LEAST + "x = [1\n", 7, "", "", "a list that ends with ]"),
    "a table without end": (LEAST + "[x\n", 7, "", "", "close it with ]"),
    "a control character": (LEAST + "# \x01\n", 7, "", "", "control characters"),
    "nested": (LEAST + "x = " + "[\n" * 3000 + "]\n" * 3000, None, "", "", "nested too deeply"),
    "a long line": (LEAST + "#" * 2001, 7, "", "", "expected lines of at most 2000 characters, found 2001"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_a_remedy(what: str, file: Path) -> None:
    text, line, table, key, said = MISTAKES[what]
    one = only(file, text)
    assert (one.line, one.table, one.key) == (line, table, key), one
    assert said in str(one)
    assert one.expected and one.found and one.remedy
    assert str(one).isprintable() and len(str(one)) < 500
    assert "geheim" not in str(one)


def test_all_mistakes_are_found_at_once_in_the_order_of_their_lines(file: Path) -> None:
    text = (
        LEAST.replace('"b"', "5").replace("= 100", "= 0") + "zzz = 1\n[output.o]\nkind = 'gpio'\n[page]\nlisten = 8\n"
    )
    assert [(one.line, one.key) for one in found(file, text)] == [
        (2, "bundle"), (6, "deadline_ms"), (7, "zzz"), (8, "line"), (11, "listen"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"line 2, \[recipe.r\] bundle: .* \(and 4 more mistakes\)"):
        read(file)


def test_a_wrong_table_causes_no_mistakes_elsewhere(file: Path) -> None:
    broken = LEAST.replace('[recipe.r]\nbundle = "b"', "[recipe]\nr = 1")
    assert only(file, broken).key == "r"
    assert only(file, "recipe = 1\n" + LEAST.replace('[recipe.r]\nbundle = "b"', "")).table == "recipe"
    assert only(file, LEAST.replace('bundle = "b"', "")).key == "bundle"
    assert only(file, LEAST + "[output.o]\nkind = 'x'\n[camera.d]\nsource = '1'\nrecipe = 'r'\ndeadline_ms = 1\n"
                "trigger = 'message'\n").key == "kind"  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        LEAST.replace("deadline_ms = 100", "deadline_ms = +1_00"),
        LEAST + "stall_s = 3\n[evidence]\nfolder='e'\nbudget = 10_000_000\n",
        LEAST + "trigger = 'message'\n[page]\ntoken_file = 't'\n",
        LEAST + "frame_after_ms = 0\nnumbered = true\n",
        LEAST + "[output.o]\nkind='gpio'\nline=1\ndelay_ms=100\n[output.p]\nkind='gpio'\nline=2\ndelay_ms=0\n",
        LEAST + "[camera.d]\nsource='1'\nrecipe='r'\ndeadline_ms=500\n"
        "[output.o]\nkind='gpio'\nline=1\ndelay_ms=100\ncameras=['c']\n",
        LEAST + "[output.o]\nkind='opc_ua'\n[page]\nlisten='127.0.0.2:4840'\n",
        LEAST + "[output.o]\nkind='opc_ua'\nlisten='[::1]:4840'\n",
        LEAST + "[output.a]\nkind='gpio'\nline=1\n[output.b]\nkind='gpio'\nline=1\nchip='/dev/gpiochip1'\n",
        LEAST + "[output.o]\nkind='mqtt'\nhost='::1'\nusername=''\n",
        LEAST + "[recipe.s]\nbundle='b'\n[recipe.t]\nbundle='b'\nnumber=3\n",
        "camera.c = {source = '0', recipe = 'r', deadline_ms = 5}\nrecipe.r.bundle = 'b'\n",
        "[camera]\nc.source = '0'\nc.recipe = 'r'\nc.deadline_ms = 5\n[recipe]\n'r' = {bundle = 'b'}\n",
        LEAST + '[camera."d"]\nsource = "rtsp://h/x"\nrecipe = "r"\ndeadline_ms = 1\n'
        "[camera.e]\nsource = 'rtsp://h/x'\nrecipe = 'r'\ndeadline_ms = 1\n",
    ],
)
def test_what_is_no_mistake(text: str, file: Path) -> None:
    assert found(file, text) == ()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#\n" * 600_000)
    (tmp_path / "latin").write_bytes(LEAST.encode() + b"# \xe4\n")
    (tmp_path / "utf16").write_bytes(LEAST.encode("utf-16"))
    (tmp_path / "zeros").write_bytes(bytes(100))
    lines = {"pipe": None, "large": None, "latin": 7, "utf16": None, "zeros": 1, ".": None, "missing": None}
    for name, line in {**lines, "x" * 300: None, "a\0b": None}.items():
        (one,) = mistakes(tmp_path / name)
        assert (one.line, one.table, one.key) == (line, "", ""), name
        with pytest.raises(UsageError):
            read(tmp_path / name)


HOSTILE = {
    "keys": "[line]\n" + "".join(f"k{i} = 1\n" for i in range(30_000)),
    "keys above all": "".join(f"k{i} = 1\n" for i in range(30_000)),
    "cameras": "".join(f"[camera.k{i}]\n" for i in range(20_000)),
    "entries": "[output.o]\nkind = 'modbus'\ncameras = [\n" + "'x',\n" * 30_000 + "]\n",
    "names": "".join(f"[camera.{'k' * 50}{i}]\nrecipe = '{'k' * 51}{i}'\n" for i in range(5000)),
    "parts of a name": "a" + ".a" * 900 + " = 1\n",
    "nested tables": "a = " + "{a=" * 500 + "1" + "}" * 500,
    "quotes": "a = " + '"""' + '""\n' * 300_000 + '"""',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_give_few_mistakes(what: str, file: Path) -> None:
    several = found(file, HOSTILE[what])
    assert 1 <= len(several) <= 500
    assert all(len(str(one)) < 500 for one in several)


def test_changed_files_are_read_or_refused(file: Path) -> None:
    """Texts that were changed at random end in a configuration or in mistakes with a line, never in an exception."""
    chance = random.Random(0)  # noqa: S311
    pieces = ["[", "]", "{", "}", "=", ".", '"', "'", '"""', "\n", "\\", "#", ",", "nan", "1979-05-27", "0x1f", "true",
              "[[camera]]\n", "x = 1\n", "a.b.c = {d=[1,{e=2}]}\n", "é", "\x00", "9" * 30, "kind", "0"]  # fmt: skip
    read_well = 0
    for _ in range(400):
        text = GOOD
        for _ in range(chance.randint(1, 3)):
            start = chance.randrange(len(text))
            text = text[:start] + chance.choice(pieces) + text[start + chance.choice((0, 0, 1, 3, 20)) :]
        several = found(file, text)
        read_well += not several
        for one in several:
            assert one.line is None or 1 <= one.line <= text.count("\n") + 1
            assert str(one).isprintable()
    assert 5 < read_well < 200  # the changes reach both ends


class _Nothing:
    """Requests that nobody makes."""

    def trigger(self, camera: str, *, id: str | None = None, recipe: str | None = None) -> int:
        raise NotImplementedError

    def choose(self, camera: str, recipe: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["plc", "gate", "log", "mes", "broker"])
def test_outputs_that_are_read_can_be_made(name: str, file: Path) -> None:
    """What the reader takes, the outputs take as well."""
    file.write_text(GOOD.replace("tls = true", 'tls = true\ntopic = "a/b/c d"').replace("x?y=1", "?"))
    try:
        make_output(name, configuration=read(file), requests=_Nothing())
    except DeviceError:
        pytest.skip("a package that it needs is not installed")


def test_every_option_is_described_and_bounded() -> None:
    for _, _, table in tables():
        for option in options_of(table).values():
            assert option.about.endswith("."), option
            assert option.type in (str, bool, int, float, Path)
            if option.type in (int, float) and not option.size:
                assert option.least is not None and option.most is not None, option
            if option.default is None:
                assert option.example is not None, option
        assert {field.name for field in dataclasses.fields(table)} == set(options_of(table))


def test_cameras_that_are_read_can_be_opened(file: Path) -> None:
    """No combination that passes is refused by the sources."""
    for extra in ("linescan = 9\nline_overlap = 8", "frozen = 0", "frozen = 2", "channels = 'rgb'", "linescan = 1"):
        assert found(file, LEAST.replace('"0"', '"rtsp://h/x"') + extra) == ()
        try:
            open_camera(read(file).cameras["c"], reopen=0)
        except SpadeError as problem:  # a package that is missing, and no option
            assert not isinstance(problem, UsageError)
