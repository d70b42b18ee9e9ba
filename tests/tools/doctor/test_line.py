"""The doctor and the configuration of a line: what it finds, and that nothing can hang it."""

from __future__ import annotations

import errno
import importlib.util
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from brokers import MOSQUITTO, Mosquitto, SmallBroker, free_port
from certificates import Authority
from command_line import run
from machines import DEVICE, NO_FILE, Commands, industrial
from numpy.typing import NDArray

from spade_edge.galleries import Built
from spade_edge.runtime import DataError
from spade_edge.tools.doctor import Finding, Host, clock, gpio, line, line_probe, reach, storage
from spade_edge.tools.doctor.cameras import connected
from spade_edge.tools.doctor.device import may_open
from spade_edge.tools.doctor.line import configuration_findings
from spade_edge.tools.doctor.packages import Packages, Requirement
from spade_edge.tools.doctor.timed import Check, run_timed
from spade_edge.tools.hardware.commands import Answer
from spade_edge.tools.line.configuration.options import MqttOptions, WebhookOptions
from spade_edge.tools.line.configuration.reader import read

LEAST = '[recipe.r]\nbundle = "b.spade"\n[camera.c]\nsource = "parts"\nrecipe = "r"\ndeadline_ms = 100\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "line.toml"


@pytest.fixture
def machine(tmp_path: Path) -> Host:
    """A machine whose processes answer nothing."""
    return replace(industrial(tmp_path / "machine"), clock_is_set=lambda: True)


def named(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by kind and name, which are unique."""
    found = {f"{one.kind} {one.name}": one for one in findings}
    assert len(found) == len(findings)
    assert all(bool(one.remedy) == (one.state != "ok") for one in findings)
    return found


def examined(file: Path, text: str, host: Host, packages: Packages = DEVICE) -> dict[str, Finding]:
    file.write_text(text, encoding="utf-8")
    return named(configuration_findings(file, host=host, packages=packages))


def test_mistakes_of_the_file_are_problems(file: Path, machine: Host) -> None:
    found = examined(file, LEAST.replace("= 100", "= 0") + "x = 1\nbits = 3\nzzz = '\\q'", machine)
    assert {name: one.state for name, one in found.items()} == {
        "configuration line 6": "problem", "configuration line 7": "problem", "configuration line 8": "problem",
        "configuration line 9": "problem",
    }  # fmt: skip
    same = examined(file, LEAST + "[camera.d]\nchannels = 'bgr'\n", machine)
    assert list(same) == [f"configuration line 7{more}" for more in ("", " (2)", " (3)")]
    assert list(named(configuration_findings(file.parent / "missing"))) == ["configuration file"]


def test_a_bundle_is_opened_and_a_frame_is_judged(
    file: Path, edge: Built, part: Callable[..., NDArray[np.uint8]]
) -> None:
    """Processes of their own open what the service would open: a good frame, a small one, and none."""
    for name, frame in {
        "good": part(50),
        "small": part(50, size=(20, 16)),
        "none": np.zeros((4, 4), np.float32),
    }.items():
        (file.parent / name).mkdir()
        np.save(file.parent / name / "1.npy", frame)
    bundle = json.dumps(str(edge.path))
    cameras = "".join(
        f'[camera.{name}]\nsource = "{name}"\nrecipe = "r"\ndeadline_ms = 1\n'
        for name in ("good", "small", "none", "gone")
    )
    file.write_text(f'[recipe.r]\nbundle = {bundle}\n[recipe.s]\nbundle = "nothing"\n{cameras}')
    found = named(configuration_findings(file))
    assert found["recipes r"].state == "ok" and "golden frames reproduce" in found["recipes r"].found
    assert found["recipes s"].state == "problem" and "manifest.json" in found["recipes s"].found
    assert found["cameras good"].state == "ok" and "80x96, judged good by recipe r" in found["cameras good"].found
    assert found["cameras small"].state in ("note", "problem") and "16x20" in found["cameras small"].found
    assert found["cameras none"].state == "problem" and "float32" in found["cameras none"].found
    assert found["cameras gone"].state == "problem"


@pytest.mark.parametrize("self_test", [True, False])
def test_golden_frames_are_scored_as_the_recipe_says(
    self_test: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(path: Path, **options: object) -> None:
        asked.append((path, options["self_test"]))
        raise DataError("no more is needed")

    monkeypatch.setattr(line_probe.Scorer, "open", refuse)
    file.write_text(LEAST.replace('"b.spade"', f'"b.spade"\nself_test = {str(self_test).lower()}'))
    with pytest.raises(DataError):
        line_probe.about_recipe(read(file), "r")
    assert asked == [(file.parent / "b.spade", self_test)]


def test_a_simulated_camera_gives_a_frame(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("genicam")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    if importlib.util.find_spec("harvesters") is None or not (folder / "viky.cti").is_file():
        pytest.skip("pip install 'spade-edge[genicam]' to run this")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(folder))
    host = Host.here()
    assert len(connected(host, Packages.here())) == 3
    file.write_text(LEAST.replace('"parts"', '"genicam:VikyTL_DEV_red"'))
    one = named(configuration_findings(file, host=host))["cameras c"]
    assert one.state == "ok" and "a frame of 400x400" in one.found


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(None, err="no answer within 45 s"), "problem"),
        (Answer(-11), "problem"),
        (Answer(0, "[[["), "problem"),
        (Answer(0, '{"error": "no such camera"}'), "problem"),
        (Answer(0, '{"silent": ""}'), "note"),
        (Answer(0, '{"silent": "no frame for 10 s"}'), "note"),
        (Answer(0, '{"damaged": "half a frame"}'), "problem"),
        (Answer(0, '{"width": 8, "height": 6, "grey": true}'), "ok"),
        (Answer(0, '{"width": 8, "height": 6, "refused": "too small"}'), "problem"),
        (Answer(0, '{"width": 8, "height": 6, "verdict": "cannot_judge", "reason": "dark"}'), "note"),
        (Answer(0, '{"width": 8, "height": 6, "verdict": "defect", "reason": "x"}'), "ok"),
    ],
)
def test_what_the_process_of_a_camera_says(file: Path, machine: Host, answer: Answer, state: str) -> None:
    host = replace(machine, run=lambda arguments, **_: answer if "camera" in arguments else NO_FILE)
    assert examined(file, LEAST, host)["cameras c"].state == state


def test_no_password_of_a_camera_is_told(file: Path, machine: Host) -> None:
    asked: list[object] = []
    host = replace(machine, run=lambda arguments, **_: asked.append(arguments) or Answer(1, err="no"))  # type: ignore[func-returns-value]
    found = examined(file, LEAST.replace('"parts"', '"rtsp://eva:geheim@10.0.0.1/live?key=geheim"'), host)
    assert "geheim" not in str(found) + str(asked) and "10.0.0.1" in found["cameras c"].found


def test_a_folder_that_is_watched_is_named_as_it_is(file: Path, machine: Host) -> None:
    host = replace(machine, run=lambda arguments, **_: Answer(0, '{"silent": ""}'))
    found = examined(file, LEAST.replace('"parts"', '"watch:/srv/incoming"'), host)
    assert found["cameras c"].found == "watch:/srv/incoming gave no frame"


def test_packages_that_an_output_needs(file: Path, machine: Host) -> None:
    text = LEAST + f'[output.m]\nkind = "modbus"\nlisten = "127.0.0.1:{free_port()}"\n'
    lacks = replace(DEVICE, requirements=(*DEVICE.requirements, Requirement("pymodbus", ">=3.8", "modbus")))
    found = examined(file, text, machine, lacks)
    assert found["outputs m packages"].remedy == "pip install 'spade-edge[modbus]'"
    assert found["outputs m"].state == "ok"
    old = replace(lacks, versions={**lacks.versions, "pymodbus": "3.7.9"})
    assert "outputs m packages" in examined(file, text, machine, old)
    there = replace(lacks, versions={**lacks.versions, "pymodbus": "3.8"})
    assert "outputs m packages" not in examined(file, text, machine, there)


def test_ports_to_listen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        (one,) = reach.listening("outputs", "o", taken, open_to_all="")
        assert one.state == "problem" and "another program" in one.found
    port = free_port()
    assert [one.state for one in reach.listening("o", "o", f"127.0.0.1:{port}", open_to_all="read")] == ["ok"]
    assert [one.state for one in reach.listening("o", "o", f"0.0.0.0:{port}", open_to_all="read")] == ["ok", "note"]
    assert [one.state for one in reach.listening("o", "o", f"0.0.0.0:{port}", open_to_all="")] == ["ok"]
    for elsewhere in (f"192.0.2.1:{port}", f"no-such-name.invalid:{port}"):
        (one,) = reach.listening("o", "o", elsewhere, open_to_all="")
        assert one.state == "problem" and "does not have this address" in one.found

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    (one,) = reach.listening("o", "o", "127.0.0.1:502", open_to_all="")
    assert one.state == "problem" and "CAP_NET_BIND_SERVICE" in one.remedy


def broker(port: int, **more: object) -> list[Finding]:
    return reach.mqtt("outputs", "m", MqttOptions(host="127.0.0.1", port=port, **more))  # type: ignore[arg-type]


@pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto")
def test_logging_in_at_mosquitto(tmp_path: Path) -> None:
    import subprocess

    secrets = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(secrets), "eva", "geheim"], check=True, capture_output=True)
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("broker")
    (tmp_path / "right").write_text("geheim\n")
    (tmp_path / "wrong").write_text("other\n")
    settings = ("allow_anonymous false", f"password_file {secrets}")
    plain = Mosquitto(tmp_path / "plain", *settings)
    encrypted = Mosquitto(
        tmp_path / "tls", "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}",
    )  # fmt: skip
    try:
        (one,) = broker(plain.port, username="eva", password_file=tmp_path / "right")
        assert (one.state, one.found) == ("ok", f"127.0.0.1 port {plain.port} lets this client in as eva")
        for options in ({}, {"username": "eva", "password_file": tmp_path / "wrong"}):
            (one,) = broker(plain.port, **options)
            assert one.state == "problem" and "geheim" not in one.found and "other" not in one.found
        (one,) = broker(encrypted.port, tls=True, ca_file=authority.ca_file)
        assert one.state == "ok" and "TLSv1" in one.found
        (one,) = broker(encrypted.port, tls=True)
        assert one.state == "problem" and "not trusted" in one.found
        (one,) = broker(encrypted.port, tls=True, ca_file=tmp_path / "missing")
        assert one.state == "problem" and "cert_file" in one.remedy
        (one,) = broker(plain.port, tls=True, ca_file=authority.ca_file)
        assert one.state == "problem"
        (one,) = broker(encrypted.port)
        assert one.state == "problem"
        url = f"https://127.0.0.1:{encrypted.port}/x"
        (one,) = reach.webhook("outputs", "w", WebhookOptions(url=url, ca_file=authority.ca_file))
        assert one.state == "ok" and "TLSv1" in one.found
        (one,) = reach.webhook("outputs", "w", WebhookOptions(url=url))
        assert one.state == "problem" and "not trusted" in one.found
    finally:
        plain.stop()
        encrypted.stop()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (bytes([0x20, 3, 0, 0x87, 0]), "does not let this client in"),
        (bytes([0x20, 3, 0, 0x99, 0]), "0x99"),
        (bytes([0x20, 2, 0, 1]), "does not know MQTT 5"),
        (bytes([0x30, 2, 0, 0]), "does not speak MQTT"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "does not speak MQTT"),
        (bytes([0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), "longer than a broker's"),
        (bytes([0x20, 0]), "does not speak MQTT"),
    ],
)
def test_strange_brokers(answer: bytes, said: str) -> None:
    strange = SmallBroker(answer=lambda kind: answer)
    try:
        (one,) = broker(strange.port)
        assert one.state == "problem" and said in one.found
    finally:
        strange.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    monkeypatch.setattr(reach, "WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_servers_that_do_not_answer(silent: int) -> None:
    for tls in (False, True):
        (one,) = broker(silent, tls=tls)
        assert one.state == "problem" and "no answer" in one.found
    (one,) = reach.webhook("o", "w", WebhookOptions(url=f"https://127.0.0.1:{silent}/"))
    assert one.state == "problem" and "no answer" in one.found
    (one,) = reach.webhook("o", "w", WebhookOptions(url=f"http://127.0.0.1:{silent}/"))
    assert one.state == "ok"
    (one,) = reach.webhook("o", "w", WebhookOptions(url=f"http://127.0.0.1:{free_port()}/"))
    assert one.state == "problem" and "nothing listens" in one.found
    for host in ("no-such-name.invalid", "a" * 64 + ".plant"):
        (one,) = reach.mqtt("o", "m", MqttOptions(host=host))
        assert one.state == "problem" and "no address is known" in one.found


def mounts(*lines: tuple[str, str]) -> str:
    return "".join(f"{i} 1 8:{i} / {point} rw shared:1 - {kind} /dev/x rw\n" for i, (point, kind) in enumerate(lines))


def test_folders(tmp_path: Path, machine: Host) -> None:
    real = tmp_path.resolve()
    told = machine.path("proc/self/mountinfo")
    told.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "with space").mkdir()
    (tmp_path / "file").write_text("x")

    def on(kind: str, folder: str = "new/folder", **more: int) -> list[Finding]:
        escaped = str(real).replace(" ", r"\040")
        told.write_text(mounts(("/", "overlay"), (escaped, kind), (f"{escaped}/with\\040space", "tmpfs")))
        return storage.folder("disk", "evidence", tmp_path / folder, machine, **more)

    (one,) = on("ext4")
    assert one.state == "ok" and ", ext4; it will be made" in one.found
    assert [one.state for one in on("nfs4")] == ["ok", "note"]
    assert [one.state for one in on("tmpfs")] == ["ok", "problem"]
    assert [one.state for one in on("ext4", "with space")] == ["ok", "problem"]
    assert [one.state for one in on("ext4", "file/x")] == ["problem"]
    assert [one.state for one in on("ext4", needs=10**18)] == ["problem"]
    assert [one.state for one in on("ext4", needs=1)] == ["ok"]
    assert [one.state for one in on("ext4", makes=1)] == ["problem"]  # its disk may not be mounted
    assert [one.state for one in on("ext4", "new", makes=1)] == ["ok"]
    assert [one.state for one in on("ext4", "new", makes=0)] == ["problem"]
    assert [one.state for one in on("ext4", "", makes=0)] == ["ok"]
    assert storage.filesystem_of(Path("/elsewhere"), machine) == "overlay"


def test_what_is_kept_already_counts_for_the_budget(
    tmp_path: Path, machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 600})
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)
    folder = tmp_path / "evidence"
    folder.mkdir()
    assert storage.folder("disk", "e", folder, machine, needs=1000)[0].state == "problem"
    (folder / "kept").write_bytes(bytes(400))
    assert storage.folder("disk", "e", folder, machine, needs=1000)[0].state == "ok"


def test_files_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("geheim\n")
    for mode, state in {0o600: "ok", 0o640: "ok", 0o644: "problem", 0o602: "problem"}.items():
        path.chmod(mode)
        (one,) = storage.password("secrets", "s", path)
        assert one.state == state and "geheim" not in one.found
    path.chmod(0o600)
    for content in (b"", b"\n", b"\xff\n", b"x" * 5000, b"a\0b\n"):
        path.write_bytes(content)
        assert storage.password("secrets", "s", path)[0].state == "problem", content
        assert storage.secret("secrets", "s", path)[0].state == "ok"
    assert storage.secret("secrets", "s", tmp_path)[0].state == "problem"
    assert storage.secret("secrets", "s", tmp_path / "gone")[0].state == "problem"
    monkeypatch.setattr(storage.os, "access", lambda path, mode: False)
    assert storage.secret("secrets", "s", path)[0].remedy.startswith("sudo chown ")


def test_devices_that_this_user_may_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Path("/dev/null")
    assert may_open("outputs", "g", device, group="gpio", lists="gpiodetect") is None
    monkeypatch.setattr("os.access", lambda path, mode: False)
    one = may_open("outputs", "g", device, group="gpio", lists="gpiodetect")
    assert one is not None and "usermod -aG gpio" in one.remedy  # the group of /dev/null is root's


def test_gpio_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def chip(path: Path, *lines: int) -> Finding:
        (one,) = gpio.chip("outputs", "gate", path, lines)
        return one

    (tmp_path / "file").write_text("")
    assert chip(tmp_path / "gone", 1).state == "problem"
    assert chip(tmp_path / "file", 1).state == "problem"
    assert (
        chip(Path("/dev/null"), 1).found == "/dev/null does not answer as a GPIO chip: inappropriate ioctl for device"
    )

    def kernel(descriptor: int, request: int, argument: bytes) -> bytes:
        """A chip of 8 lines, of which a driver has line 3."""
        if request == gpio.CHIP_INFO:
            assert len(argument) == (request >> 16 & 0x3FFF)
            return b"gpiochip9".ljust(32, b"\0") + b"pinctrl".ljust(32, b"\0") + (8).to_bytes(4, "little")
        assert request == gpio.LINE_INFO and len(argument) == (request >> 16 & 0x3FFF)
        line = int.from_bytes(argument[64:68], "little")
        consumer, flags = (b"led0", 1) if line == 3 else (b"", 0)
        return bytes(32) + consumer.ljust(32, b"\0") + argument[64:72] + flags.to_bytes(8, "little") + bytes(176)

    monkeypatch.setattr(fcntl, "ioctl", kernel)
    assert chip(Path("/dev/null"), 1, 7).found == "/dev/null pinctrl, lines 1 and 7 free"
    assert "lines 0 to 7" in chip(Path("/dev/null"), 8).found
    assert "belongs to led0" in chip(Path("/dev/null"), 2, 3).found


def test_a_chip_on_another_system(file: Path, machine: Host) -> None:
    text = LEAST + "[output.gate]\nkind = 'gpio'\nline = 1\n"
    assert examined(file, text, replace(machine, system="Windows"))["outputs gate"].state == "note"
    assert examined(file, text, machine)["outputs gate"].state == "problem"


@pytest.mark.parametrize(
    ("kernel", "chrony", "mark", "state", "said"),
    [
        (True, "", False, "ok", "set by a time server"),
        (False, "", True, "ok", "set by a time server"),
        (False, "Leap status     : Normal\n", False, "ok", "set by a time server"),
        (False, "Leap status     : Not synchronised\n", False, "note", "not set"),
        (None, "Leap status     : Insert second\n", False, "ok", "set by a time server"),
        (False, "garbage", False, "note", "not set"),
        (None, "", False, "note", "not known here"),
    ],
)
def test_the_clock(tmp_path: Path, kernel: bool | None, chrony: str, mark: bool, state: str, said: str) -> None:
    answers = {"chronyc": Answer(0, chrony)} if chrony else {}
    host = replace(industrial(tmp_path), run=Commands(answers, {}), clock_is_set=lambda: kernel)
    if mark:
        (tmp_path / "run/systemd/timesync").mkdir(parents=True)
        (tmp_path / "run/systemd/timesync/synchronized").touch()
    one = clock.time_of_day(host)
    assert one.state == state and said in one.found


def test_checks_that_hang_or_fail_cost_nobody_else_anything() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait(60)
        return []

    def fail() -> list[Finding]:
        raise ZeroDivisionError

    def refuse() -> list[Finding]:
        raise DataError("no such thing")

    def well(name: str) -> Callable[[], list[Finding]]:
        return lambda: [Finding("k", name, "ok", "found")]

    checks = [
        Check("k", "a", 30, well("a")), Check("k", "b", 0.05, hang), Check("k", "c", 30, fail),
        Check("k", "d", 0.05, hang), Check("k", "e", 30, refuse), Check("k", "f", 30, well("f")),
    ]  # fmt: skip
    for at_once in (1, 2, 8):
        found = run_timed(checks, at_once=at_once)
        assert [one.name for one in found] == list("abcdef")
        assert [one.state for one in found] == ["ok", "problem", "problem", "problem", "problem", "ok"]
        assert "no answer within 0.05 s" in found[1].found and "ZeroDivisionError" in found[2].found
    never.set()
    assert run_timed([], at_once=2) == []


def test_what_comes_after_its_time_is_left_out() -> None:
    told, done = threading.Event(), threading.Event()

    def late() -> list[Finding]:
        told.wait(60)
        done.set()
        return [Finding("k", "late", "ok", "found")]

    def other() -> list[Finding]:
        told.set()  # the first one was given up, else it would still be its turn
        done.wait(60)
        threading.Event().wait(0.3)  # its finding is there
        return [Finding("k", "other", "ok", "found")]

    found = run_timed([Check("k", "late", 0.05, late), Check("k", "other", 60, other)], at_once=1)
    assert [one.state for one in found] == ["problem", "ok"]


def test_the_command(
    capsys: pytest.CaptureFixture[str], file: Path, machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spade_edge.tools.cli.commands import doctor

    monkeypatch.setattr(doctor, "examine", lambda host, folder: [])
    monkeypatch.setattr(doctor.Host, "here", classmethod(lambda cls: machine))
    file.write_text(LEAST.replace("= 100", "= 0"))
    code, out, err = run(capsys, "doctor", "--config", file, "--json")
    assert code == 4 and "configuration line 6" in err
    (one,) = json.loads(out)["findings"]
    assert one["remedy"].startswith("raise it")
    code, out, _ = run(capsys, "doctor", "--config", file)
    assert code == 4 and "line 6" in out


def test_time_limits_leave_room_for_the_processes() -> None:
    assert line.OPENING > line.SLOW > reach.WITHIN
