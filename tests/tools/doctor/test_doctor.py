"""The doctor on whole machines: what it finds, that nothing in them makes it fail, and the command."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from machines import (
    CPU,
    CUDA,
    INSTALLED,
    MACHINES,
    NO_FILE,
    SYSTEM_OPENCV,
    TENSORRT,
    WITH_OPENCV,
    Commands,
    computes,
    folder_of,
    found,
    host,
    industrial,
    orin,
    raspberry,
)

from spade_edge.tools.cli.commands import doctor as command_doctor
from spade_edge.tools.doctor import Host, examine
from spade_edge.tools.doctor.packages import Packages
from spade_edge.tools.hardware.commands import Answer

EXPECTED = {
    "orin": {
        "packages onnxruntime": ("ok", "onnxruntime 1.23.0"),
        "packages camera": ("ok", "opencv-python-headless 4.12.0"),
        "system system": ("ok", "Ubuntu 22.04.5 LTS, kernel 6.8.0, aarch64"),
        "system board": ("ok", "NVIDIA Jetson Orin Nano Developer Kit"),
        "system userland": ("ok", "64-bit Python"),
        "jetson release": ("ok", "L4T 36.4.3, JetPack 6"),
        "jetson power mode": ("note", "15W; MAXN_SUPER is faster"),
        "jetson clocks": ("note", ""),
        "processor model": ("ok", "4 x Cortex-A78AE"),
        "processor cores": ("note", "4 of 6 are online"),
        "processor quota": ("ok", "none"),
        "processor instructions": ("ok", "NEON, fp16 (asimdhp), dot product (asimddp): "),
        "clock governor": ("ok", "schedutil"),
        "clock frequency": ("note", "0.73 GHz now, up to 1.73 GHz, but limited to 1.34 GHz"),
        "heat temperature": ("ok", "53 C at most, tj-thermal, of 2 sensors"),
        "heat throttling": ("note", "momentary over-current 37 times"),
        "memory memory": ("ok", "4.8 GB of 8.0 GB available, shared with the GPU"),
        "providers cpu": ("ok", ""),
        "gpu gpu": ("ok", "Orin, compute capability 8.7"),
        "gpu use": ("note", "built without CUDA"),
        "gpu libraries": (
            "ok",
            "nvidia-jetpack 6.2+b77, cuda-cudart-12-6 12.6.68-1, libcudnn9-cuda-12 9.3.0.75-1, libnvinfer10",
        ),
        "cameras video devices": ("ok", "/dev/video0 vi-output, imx219 9-0010"),
        "cameras csi": ("problem", "nvargus-daemon"),
        "cameras opencv video": ("problem", "OpenCV 4.12.0 with FFmpeg, V4L, without GStreamer: the CSI camera"),
    },
    "raspberry": {
        "packages onnxruntime": ("problem", "not installed"),
        "system board": ("ok", "Raspberry Pi 5 Model B Rev 1.0"),
        "system userland": ("problem", "32-bit Python on a 64-bit kernel (aarch64)"),
        "processor model": ("ok", "4 x Cortex-A76"),
        "processor instructions": ("note", "no dot product"),
        "heat temperature": ("problem", "cpu-thermal 86 C, over 85 C"),
        "heat throttling": ("problem", "now: under-voltage, throttled"),
        "cameras video devices": ("ok", "only the video engine"),
        "cameras opencv video": ("ok", "not installed"),
        "gpu gpu": ("ok", "no NVIDIA GPU"),
    },
    "industrial": {
        "system system": ("ok", "Ubuntu 24.04.1 LTS, kernel 6.8.0, x86_64, in a container"),
        "processor model": ("ok", "Intel(R) Core(TM) i5-8500 CPU @ 3.00GHz"),
        "processor cores": ("ok", "6"),
        "processor quota": ("note", "1.5 of 6 cores"),
        "processor instructions": ("note", "SSE4.2, AVX, AVX2, no VNNI"),
        "processor thread variables": ("note", "OMP_NUM_THREADS=1: "),
        "clock governor": ("note", "powersave: "),
        "clock frequency": ("ok", "0.80 GHz now, up to 4.10 GHz"),
        "heat temperature": ("ok", "61 C at most, x86_pkg_temp, of 1 sensor"),
        "heat throttling": ("note", " 12 times"),
        "memory memory": ("note", "12.3 GB of 16.4 GB available, and 800 MB of the control group's 2.0 GB"),
        "memory swap": ("ok", "none"),
        "providers tensorrt": ("note", "TensorRT is not installed: libnvinfer.so.10 cannot be loaded"),
        "providers cuda": ("problem", "libcudnn.so.9 cannot be loaded"),
        "providers cpu": ("ok", ""),
        "providers full bytes": ("note", "saturate"),
        "gpu gpu 0": ("ok", "NVIDIA GeForce RTX 3060, driver 550.90.07, 12288 MB, 64 C, compute capability 8.6"),
        "cameras video devices": ("ok", "/dev/video0 HD Pro Webcam C920, /dev/video1 HD Pro Webcam C920"),
        "cameras gentl producers": ("note", "maker.cti, but harvesters"),
        "cameras opencv video": ("ok", "without GStreamer"),
    },
    "alpine": {
        "packages onnxruntime": ("problem", "not installed"),
        "packages camera": ("ok", "not installed; [camera]"),
        "system C library": ("problem", "musl"),
        "processor model": ("ok", "Celeron(R) J1900, in a virtual machine"),
        "processor quota": ("ok", " 4"),
        "processor instructions": ("note", "SSE4.2, no AVX2"),
        "memory memory": ("note", "512 MB of 2.0 GB available"),
        "clock governor": ("note", "not known here"),
        "heat temperature": ("note", "not known here"),
        "heat throttling": ("note", "not known here"),
        "providers onnxruntime": ("note", "onnxruntime is missing"),
    },
}


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_found_on_a_machine(name: str, tmp_path: Path) -> None:
    findings = found(MACHINES[name](tmp_path), INSTALLED[name])
    for what, (state, text) in EXPECTED[name].items():
        assert (findings[what].state, text in findings[what].found) == (state, True), findings[what]
    problems = {what for what, one in findings.items() if one.state == "problem"}
    assert problems == {what for what, (state, _) in EXPECTED[name].items() if state == "problem"}


def test_remedies_name_what_to_type(tmp_path: Path) -> None:
    on_orin = found(orin(tmp_path / "orin"), WITH_OPENCV)
    assert on_orin["jetson power mode"].remedy.startswith("sudo nvpmodel -m 2,")  # not the highest number
    assert "onnxruntime-gpu wheel for this JetPack" in on_orin["gpu use"].remedy
    assert "python3-opencv" in on_orin["cameras opencv video"].remedy
    on_pc = found(industrial(tmp_path / "pc"))
    assert on_pc["processor quota"].remedy.startswith("--threads 1,")
    assert on_pc["processor thread variables"].found.startswith("OMP_NUM_THREADS=1: ")  # and nothing else
    assert on_pc["memory memory"].remedy.count(" or ") == 1 and "MemoryMax" in on_pc["memory memory"].remedy
    assert "cuDNN 9.* and CUDA 12.*" in on_pc["providers cuda"].remedy
    on_pi = found(raspberry(tmp_path / "pi"))
    assert on_pi["system userland"].remedy == "install the 64-bit Raspberry Pi OS"
    assert "supply" in on_pi["heat throttling"].remedy and "fan" in on_pi["heat throttling"].remedy


CONTENTS = {
    "empty": b"",
    "bytes": np.random.default_rng(0).bytes(3000),
    "long": b"7" * 4000,
    "negative": b"-1\n",
    "large": b"99999999999999999999\n",
    "zeros": bytes(500),
    "escape": b"\x1b[31mred\x07\r\n\x00: 5\n",
    "colons": b":" * 900 + b"\n" + b",-" * 900,
}


KINDS = ("absent", "folder", "pipe", "loop", "huge", *CONTENTS)


def garbage(path: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)  # a hole: no disk, but nothing to read whole
    elif kind != "absent":
        path.write_bytes(CONTENTS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MACHINES)
def test_no_file_of_a_machine_makes_the_doctor_fall(name: str, kind: str, tmp_path: Path) -> None:
    machine = MACHINES[name](tmp_path)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    for path in files:
        kept = path.read_bytes()
        garbage(path, kind)
        found(machine, INSTALLED[name])
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.write_bytes(kept)
    for path in files:
        garbage(path, kind)
    findings = found(machine, INSTALLED[name])
    for what in ("clock governor", "heat temperature", "memory memory", "processor instructions"):
        assert findings[what].found.startswith("not known here"), findings[what]


@pytest.mark.parametrize(
    "answer",
    [
        NO_FILE,
        Answer(None, err="no answer within 5 s"),
        Answer(0),
        Answer(-11),
        Answer(-99),
        Answer(1, "", "\x1b[31mFatal \x07 error\n" * 999),
        Answer(0, "[[" * 9999),
        Answer(0, '{"version": 3, "providers": "x"}'),
        Answer(0, '{"version": "1", "providers": [null, 7, "CUDAExecutionProvider", "XExecutionProvider"]}'),
        Answer(0, '{"provider": [], "right": "yes", "bytes": 1, "error": {}}'),
        Answer(0, "throttled=0xzz NV Power Mode: \x1b[1m\x07 pmode:9 ,,,,,\n,\n"),
        Answer(0, "a, b, c, 999, [N/A], 1.0\n" * 3),
    ],
)
@pytest.mark.parametrize("name", MACHINES)
def test_no_command_makes_the_doctor_fall(name: str, answer: Answer, tmp_path: Path) -> None:
    machine = MACHINES[name](tmp_path)
    found(replace(machine, run=lambda *_, **__: answer), INSTALLED[name])
    commands = machine.run
    assert isinstance(commands, Commands)
    for program in ("nvidia-smi", "nvpmodel", "vcgencmd", "dpkg-query"):
        found(replace(machine, run=Commands({**commands.answers, program: answer}, commands.tried)), INSTALLED[name])
    for what in ("onnxruntime", "opencv", CPU, CUDA, TENSORRT):
        found(replace(machine, run=Commands(commands.answers, {**commands.tried, what: answer})), INSTALLED[name])


@pytest.mark.parametrize("system", ["Darwin", "Windows", ""])
def test_other_systems_are_not_known(system: str, tmp_path: Path) -> None:
    machine = host(tmp_path, {}, Commands({}, computes(CPU)), system=system, machine="arm64", libc="")
    findings = found(machine)
    for what in ("C library", "quota", "governor", "frequency", "temperature", "throttling", "memory", "video devices"):
        (one,) = (finding for label, finding in findings.items() if label.endswith(what) and "memory sw" not in label)
        assert one.state == "note" and one.found == "not known here" and "on Linux" in one.remedy
    assert findings["providers cpu"].state == "ok"
    assert not any(one.state == "problem" for one in findings.values())


def test_no_process_is_started_through_a_shell_and_names_stay_the_same(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    names = list(found(machine, WITH_OPENCV))
    assert isinstance(machine.run, Commands)
    assert all(isinstance(part, str) for arguments in machine.run.asked for part in arguments)
    # Programs may rely on these: a name that changes breaks them.
    assert names == [
        "packages python", "packages spade-edge", "packages numpy", "packages onnxruntime", "packages camera",
        "system system", "system board", "system userland", "system C library",
        "jetson release", "jetson power mode", "jetson clocks",
        "processor model", "processor cores", "processor quota", "processor instructions", "processor thread variables",
        "clock governor", "clock frequency", "heat temperature", "heat throttling",
        "memory memory", "memory swap", "memory cache folder",
        "providers cpu", "providers full bytes", "gpu gpu", "gpu use", "gpu libraries",
        "cameras video devices", "cameras csi", "cameras gentl producers", "cameras opencv video",
    ]  # fmt: skip


@pytest.fixture
def on_orin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The command looks at an Orin."""
    machine = orin(tmp_path)
    monkeypatch.setattr(command_doctor.Host, "here", classmethod(lambda cls: machine))
    monkeypatch.setattr(Packages, "here", classmethod(lambda cls: WITH_OPENCV))
    return machine


def test_the_table(capsys: pytest.CaptureFixture[str], on_orin: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run(capsys, "doctor")
    assert code == 4
    assert "found 2 (cameras csi, cameras opencv video)" in err and err.count("\n") == 1
    lines = out.splitlines()
    assert out.isascii()
    assert [line for line in lines if len(line) > 100 and "cache folder" not in line] == []  # a path is not broken
    kinds = [line for line in lines if re.match(r"[a-z]", line)]
    assert kinds == [
        "packages", "system", "jetson", "processor", "clock", "heat", "memory", "providers", "gpu", "cameras",
    ]  # fmt: skip
    assert "  PROBLEM  csi               a CSI camera is present, but nvargus-daemon " in out
    assert "  note     power mode        15W; MAXN_SUPER is faster\n" in out
    assert "                             -> sudo nvpmodel -m 2, " in out
    last = lines[lines.index("2 problems, 6 notes") :]
    assert last[1].startswith("  cameras, csi: ")
    assert sum("-> " in line for line in last) == 2


def test_json_has_the_same(capsys: pytest.CaptureFixture[str], on_orin: Host) -> None:
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 4 and out.count("\n") == 1
    value = json.loads(out)
    assert list(value) == ["spade-edge", "problems", "notes", "findings"]
    assert (value["problems"], value["notes"]) == (2, 6)
    assert value["findings"] == [one.to_json() for one in examine(on_orin)]
    assert all(list(one) == ["kind", "name", "state", "found", "remedy"] for one in value["findings"])


def test_a_machine_without_problems(
    capsys: pytest.CaptureFixture[str], on_orin: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(on_orin.root, {"tmp/argus_socket": ""})
    well = replace(on_orin, run=Commands({}, computes(CUDA, CPU) | {"opencv": SYSTEM_OPENCV}))
    monkeypatch.setattr(command_doctor.Host, "here", classmethod(lambda cls: well))
    code, out, err = run(capsys, "doctor")
    assert code == 0 and err == "" and out.splitlines()[-1].startswith("no problems, ")
