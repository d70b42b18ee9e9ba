"""`spade-edge doctor` on machines that are folders: what it finds on them, and that nothing in them makes it fall."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from altered import altered
from command_line import run

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.tools.cli.commands import doctor as command_doctor
from spade_edge.tools.doctor import Finding, Host, examine, memory
from spade_edge.tools.doctor.commands import Answer
from spade_edge.tools.doctor.packages import Packages, Requirement

NO_FILE = Answer(None, err="No such file or directory")
REQUIREMENTS = tuple(
    Requirement(name, bounds, extra)
    for name, bounds, extra in (
        ("numpy", ">=1.23.5", ""),
        ("onnxruntime", ">=1.17", "cpu"),
        ("onnxruntime-gpu", ">=1.17", "gpu"),
        ("opencv-python-headless", ">=4.8", "camera"),
    )
)
DEVICE = Packages(
    versions={"spade-edge": "0.1.0", "numpy": "2.2.6", "onnxruntime": "1.23.0"},
    requirements=REQUIREMENTS,
    python=">=3.10",
    modules=frozenset({"onnxruntime"}),
)
WITH_OPENCV = replace(
    DEVICE,
    versions={**DEVICE.versions, "opencv-python-headless": "4.12.0"},
    modules=frozenset({"onnxruntime", "cv2"}),
)
PYPI_OPENCV = {
    "version": "4.12.0",
    "build": "  Video I/O:\n    FFMPEG:  YES\n    GStreamer:  NO\n    v4l/v4l2:  YES (linux)",
}
SYSTEM_OPENCV = {"version": "4.8.0", "build": "    FFMPEG:  YES\n    GStreamer:    YES (1.20.3)\n    v4l/v4l2:  YES"}


class Commands:
    """Answers by program, and those of `prove` by what it is to try."""

    def __init__(self, answers: Mapping[str, Answer], tried: Mapping[str, Any]) -> None:
        self.answers, self.tried = dict(answers), dict(tried)
        self.asked: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], *, timeout: float, environment: object = None) -> Answer:
        self.asked.append(list(arguments))
        assert timeout > 0 and not isinstance(arguments, str)
        if arguments[0] != sys.executable:
            return self.answers.get(arguments[0], NO_FILE)
        value = self.tried.get(arguments[-1], {"error": "ModuleNotFoundError: no"})
        return value if isinstance(value, Answer) else Answer(0, json.dumps(value))


def computes(*names: str, full_bytes: bool = True) -> dict[str, Any]:
    """What `prove` says where all providers compute."""
    told: dict[str, Any] = {"onnxruntime": {"version": "1.23.0", "providers": list(names)}}
    for name in names:
        told[name] = {"provider": name, "right": True} | ({"bytes": full_bytes} if name.startswith("CPU") else {})
    return told


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def cores(count: int, features: str, implementer: str, part: str) -> str:
    """/proc/cpuinfo of an Arm."""
    return "".join(
        f"processor\t: {i}\nBogoMIPS\t: 62.50\nFeatures\t: {features}\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
        for i in range(count)
    )


def clocks(count: int, *, governor: str, driver: str, now: int, limit: int, most: int) -> dict[str, str]:
    folder = "sys/devices/system/cpu/cpufreq/policy"
    return {
        f"{folder}{i}/{name}": f"{value}\n"
        for i in range(count)
        for name, value in (
            ("scaling_governor", governor),
            ("scaling_driver", driver),
            ("scaling_cur_freq", now),
            ("scaling_min_freq", 115200),
            ("scaling_max_freq", limit),
            ("cpuinfo_max_freq", most),
        )
    }


def memory_of(total: int, available: int, swap: int = 0) -> str:
    return f"MemTotal: {total} kB\nMemFree: 1 kB\nMemAvailable:  {available} kB\nSwapTotal: {swap} kB\nSwapFree: 0 kB\n"


ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: x\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\n',
    "etc/nvpmodel.conf": "# comment\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=15W >\nA 1\n"
    "< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< POWER_MODEL ID=3 NAME=7W >\n"
    "< PM_CONFIG DEFAULT=1 >\n",
    "var/lib/nvpmodel/status": "pmode:0001",
    "proc/cpuinfo": cores(4, "fp asimd evtstrm aes crc32 atomics fphp asimdhp asimdrdm lrcpc asimddp", "0x41", "0xd42"),
    "proc/meminfo": memory_of(7_800_000, 4_700_000, 3_900_000),
    "sys/devices/system/cpu/present": "0-5\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "52468\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "99000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_temp": "45000\n",
    "sys/class/thermal/thermal_zone0/trip_point_1_type": "active\n",
    "sys/class/thermal/thermal_zone10/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone10/temp": "53000\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc2_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "918000000\n",
    "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
    "dev/video0": "",
} | clocks(2, governor="schedutil", driver="tegra194", now=729600, limit=1344000, most=1728000)

PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "etc/os-release": 'PRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"\n',
    "proc/cpuinfo": cores(4, "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva lpae crc32", "0x41", "0xd0b"),
    "proc/meminfo": memory_of(4_100_000, 3_300_000, 200_000),
    "sys/devices/system/cpu/present": "0-3\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "86450\n",
    "sys/class/video4linux/video19/name": "rpi-hevc-dec\n",
    "sys/class/video4linux/video20/name": "pispbe-input\n",
    "dev/video19": "",
    "dev/video20": "",
} | clocks(1, governor="ondemand", driver="cpufreq-dt", now=2400000, limit=2400000, most=2400000)

PC = {
    "etc/os-release": 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\n',
    ".dockerenv": "",
    "proc/cpuinfo": "".join(
        f"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i5-8500 CPU @ 3.00GHz\n"
        f"cpu MHz\t\t: 3000.000\nflags\t\t: fpu sse4_2 avx fma avx2\n\n"
        for i in range(6)
    ),
    "proc/meminfo": memory_of(16_000_000, 12_000_000),
    "proc/self/cgroup": "0::/system.slice/score.service\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/system.slice/score.service/cpu.max": "max 100000\n",
    "sys/fs/cgroup/system.slice/score.service/memory.max": "2000000000\n",
    "sys/fs/cgroup/system.slice/score.service/memory.current": "1700000000\n",
    "sys/fs/cgroup/system.slice/score.service/memory.stat": "anon 1\ninactive_file 500000000\nactive_file 9\n",
    "sys/devices/system/cpu/present": "0-5\n",
    "sys/devices/system/cpu/online": "0-5\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "12\n",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone0/temp": "61000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "-274000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
    "sys/class/thermal/thermal_zone1/type": "iwlwifi_1\n",
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
    "sys/class/video4linux/video0/name": "HD Pro Webcam C920\n",
    "sys/class/video4linux/video1/name": "HD Pro Webcam C920\n",
    "dev/video0": "",
    "dev/video1": "",
    "opt/maker/lib/maker.cti": "",
} | clocks(6, governor="powersave", driver="intel_pstate", now=800000, limit=4100000, most=4100000)

MUSL = {
    "etc/os-release": 'NAME="Alpine Linux"\nPRETTY_NAME="Alpine Linux v3.20"\n',
    "run/.containerenv": "",
    "lib/ld-musl-x86_64.so.1": "\x7fELF",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Celeron(R) J1900\nflags\t\t: sse4_2 hypervisor\n",
    "proc/meminfo": memory_of(2_000_000, 500_000),
    "proc/self/cgroup": "5:cpuset:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
}

NVIDIA_SMI = "NVIDIA GeForce RTX 3060, 550.90.07, 12288, 64, {reasons}, 8.6\n"
CUDNN = Answer(
    0,
    json.dumps({"error": "Fail: [ONNXRuntimeError] : 1 : FAIL : nodes are assigned to the default CPU EP, but"}),
    "Failed to load libcurand.so.10: libcurand.so.10: cannot open shared object file: No such file or directory\n"
    "\x1b[1;31m2026-01-01 [E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] /onnxruntime_src/onnxruntime"
    "/core/session/provider_bridge_ort.cc:2043 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() "
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
    "libcudnn.so.9: cannot open shared object file: No such file or directory\n\x1b[m\n"
    "[W:onnxruntime:Default, x.cc:1 Create] Failed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA 12.*. "
    "Please install all dependencies as mentioned\n",
)
TENSORRT_MISSING = Answer(
    0,
    json.dumps({"error": "RuntimeError: Please install TensorRT libraries"}),
    "Failed to load library libonnxruntime_providers_tensorrt.so with error: libnvinfer.so.10: cannot open shared "
    "object file: No such file or directory",
)


def folder_of(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def orin(root: Path) -> Host:
    answers = {
        "nvpmodel": Answer(0, "NV Power Mode: 15W\n0\n"),
        "dpkg-query": Answer(
            1,
            "installed nvidia-jetpack 6.2+b77\ninstalled cuda-cudart-12-6 12.6.68-1\nnot-installed libcudnn8 \n"
            "installed libcudnn9-cuda-12 9.3.0.75-1\ninstalled libcudnn9-dev-cuda-12 9.3.0.75-1\n"
            "installed libnvinfer10 10.3.0.30-1+cuda12.5\n",
            "dpkg-query: no packages found matching x",
        ),
    }
    tried = computes("AzureExecutionProvider", CPU) | {"opencv": PYPI_OPENCV}
    return host(root, ORIN, Commands(answers, tried), machine="aarch64", cores=4)


def raspberry(root: Path) -> Host:
    commands = Commands({"vcgencmd": Answer(0, "throttled=0x50005\n")}, {})
    return host(root, PI, commands, machine="aarch64", bits=32, cores=4)


def industrial(root: Path) -> Host:
    answers = {"nvidia-smi": Answer(0, NVIDIA_SMI.format(reasons="0x0000000000000001"))}
    tried = computes(TENSORRT, CUDA, CPU, full_bytes=False) | {CUDA: CUDNN, TENSORRT: TENSORRT_MISSING}
    environment = {
        "OMP_NUM_THREADS": "1",
        "GENICAM_GENTL64_PATH": "/opt/gone:/opt/maker/lib",
        "OMPI_COMM": "9",
        "OMP_DISPLAY_ENV": "1",
        "MY_THREADS": "3",
    }
    return host(root, PC, Commands(answers, tried | {"opencv": PYPI_OPENCV}), cores=6, environment=environment)


def alpine(root: Path) -> Host:
    return host(root, MUSL, Commands({}, {}), libc="", cores=2)


def host(root: Path, files: Mapping[str, str], commands: Commands, **changes: Any) -> Host:
    """A PC with Linux, or what the changes make of it."""
    (root / "home/.cache").mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "environment": {},
        "system": "Linux",
        "machine": "x86_64",
        "release": "6.8.0",
        "bits": 64,
        "libc": "glibc 2.35",
        "cores": 1,
        "home": root / "home",
        "opens": lambda path: True,
    }
    return Host(root=folder_of(root, files), run=commands, **(values | changes))


MACHINES = {"orin": orin, "raspberry": raspberry, "industrial": industrial, "alpine": alpine}
BARE = replace(DEVICE, modules=frozenset(), versions={"spade-edge": "0.1.0", "numpy": "2.2.6"})
INSTALLED = {"orin": WITH_OPENCV, "raspberry": BARE, "industrial": WITH_OPENCV, "alpine": BARE}


def found(machine: Host, installed: Packages = DEVICE, **more: Any) -> dict[str, Finding]:
    """The findings by kind and name, all of them well formed."""
    findings = examine(machine, installed=installed, **more)
    for one in findings:
        assert one.state in ("ok", "note", "problem")
        assert (one.remedy == "") == (one.state == "ok"), one
        assert one.found and one.kind and one.name
        assert all(text.isprintable() for text in (one.found, one.remedy, one.name)), one
        assert "fault of the doctor's" not in one.found, one
    by_name = {f"{one.kind} {one.name}": one for one in findings}
    assert len(by_name) == len(findings)
    return by_name


EXPECTED = {
    "orin": {
        "packages onnxruntime": ("ok", "onnxruntime 1.23.0"),
        "packages camera": ("ok", "opencv-python-headless 4.12.0"),
        "system system": ("ok", "Ubuntu 22.04.5 LTS, kernel 6.8.0, aarch64"),
        "system board": ("ok", "NVIDIA Jetson Orin Nano Developer Kit"),
        "system userland": ("ok", "64-bit Python"),
        "jetson release": ("ok", "L4T 36.4.3, JetPack 6"),
        "jetson power mode": ("note", "15W; MAXN_SUPER is faster"),
        "jetson clocks": ("note", "rise only under load"),
        "processor model": ("ok", "4 x Cortex-A78AE"),
        "processor cores": ("note", "4 may be used, 4 of 6 are switched on"),
        "processor quota": ("ok", "none"),
        "processor instructions": ("ok", "NEON, fp16 (asimdhp), dot product (asimddp): products of bytes are fast"),
        "clock governor": ("ok", "schedutil"),
        "clock frequency": ("note", "0.73 GHz now, up to 1.73 GHz, but limited to 1.34 GHz"),
        "heat temperature": ("ok", "53 C at most, tj-thermal, of 2 sensors"),
        "heat throttling": ("note", "momentary over-current 37 times"),
        "memory memory": ("ok", "4.8 GB of 8.0 GB available, shared with the GPU"),
        "providers cpu": ("ok", "computes"),
        "gpu gpu": ("ok", "Orin, compute capability 8.7"),
        "gpu use": ("note", "built without CUDA"),
        "gpu libraries": (
            "ok",
            "nvidia-jetpack 6.2+b77, cuda-cudart-12-6 12.6.68-1, libcudnn9-cuda-12 9.3.0.75-1, libnvinfer10",
        ),
        "cameras video devices": ("ok", "/dev/video0 vi-output, imx219 9-0010"),
        "cameras csi": ("problem", "nvargus-daemon does not listen"),
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
        "cameras video devices": ("ok", "none but the Raspberry Pi's own video engine"),
        "cameras opencv video": ("ok", "not installed"),
        "gpu gpu": ("ok", "none of NVIDIA's"),
    },
    "industrial": {
        "system system": ("ok", "Ubuntu 24.04.1 LTS, kernel 6.8.0, x86_64, in a container"),
        "processor model": ("ok", "Intel(R) Core(TM) i5-8500 CPU @ 3.00GHz"),
        "processor cores": ("ok", "6"),
        "processor quota": ("note", "the time of 1.5 of 6 cores"),
        "processor instructions": ("note", "SSE4.2, AVX, AVX2, no VNNI"),
        "processor thread variables": ("note", "OMP_NUM_THREADS=1: "),
        "clock governor": ("note", "powersave: clocks up under load"),
        "clock frequency": ("ok", "0.80 GHz now, up to 4.10 GHz"),
        "heat temperature": ("ok", "61 C at most, x86_pkg_temp, of 1 sensor"),
        "heat throttling": ("note", "slowed down for heat 12 times"),
        "memory memory": ("note", "12.3 GB of 16.4 GB available, and 800 MB of the control group's 2.0 GB"),
        "memory swap": ("ok", "none"),
        "providers tensorrt": ("note", "TensorRT is not installed: libnvinfer.so.10 cannot be loaded"),
        "providers cuda": ("problem", "libcudnn.so.9 cannot be loaded"),
        "providers cpu": ("ok", "computes"),
        "providers full bytes": ("note", "saturate"),
        "gpu gpu 0": ("ok", "NVIDIA GeForce RTX 3060, driver 550.90.07, 12288 MB, 64 C, compute capability 8.6"),
        "cameras video devices": ("ok", "/dev/video0 HD Pro Webcam C920, /dev/video1 HD Pro Webcam C920"),
        "cameras gentl producers": ("note", "maker.cti, but harvesters"),
        "cameras opencv video": ("ok", "without GStreamer"),
    },
    "alpine": {
        "packages onnxruntime": ("problem", "not installed"),
        "packages camera": ("ok", "not installed; [camera] is for image files"),
        "system C library": ("problem", "musl"),
        "processor model": ("ok", "Celeron(R) J1900, in a virtual machine"),
        "processor quota": ("ok", "the time of 4,"),
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
    assert "NVIDIA's own onnxruntime-gpu wheel" in on_orin["gpu use"].remedy
    assert "python3-opencv" in on_orin["cameras opencv video"].remedy
    on_pc = found(industrial(tmp_path / "pc"))
    assert on_pc["processor quota"].remedy.startswith("--threads 1,")
    assert on_pc["processor thread variables"].found.startswith("OMP_NUM_THREADS=1: ")  # and nothing else
    assert on_pc["memory memory"].remedy.count(" or ") == 1 and "raise the limit" in on_pc["memory memory"].remedy
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


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    machine = host(tmp_path, {"a": "1234\n", "b": " 5 \0 x\x1b[0m\n", "c": "9" * 101}, Commands({}, {}))
    assert machine.text("a") == machine.text("/a", most=5) == "1234" and machine.text("a", most=4) is None
    assert machine.text("b") == "5 \n x[0m" and machine.label("b") == "5 x[0m"
    assert machine.number("a") == 1234 and machine.number("b") is None
    assert machine.label("c") is None and machine.number("c") is None and machine.text("none") is None


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
        assert one.state == "note" and one.found == "not known here" and "Linux only" in one.remedy
    assert findings["providers cpu"].state == "ok"
    assert not any(one.state == "problem" for one in findings.values())


def test_a_system_without_packages_on_which_onnxruntime_runs_all_the_same(tmp_path: Path) -> None:
    on_musl = replace(alpine(tmp_path / "musl"), run=Commands({}, computes(CPU)))
    assert found(on_musl)["system C library"].state == "note"
    on_pi = replace(raspberry(tmp_path / "pi"), run=Commands({}, computes(CPU)))
    assert found(on_pi)["system userland"].state == "note"
    old = host(tmp_path / "old", {}, Commands({}, computes(CPU)), libc="glibc 2.17")
    assert found(old)["system C library"].state == "note"


def test_throttling_of_a_raspberry_pi(tmp_path: Path) -> None:
    machine = raspberry(tmp_path)
    for text, state, says in (
        ("throttled=0x0\n", "ok", "never"),
        ("throttled=0x50000\n", "note", "since the start: under-voltage, throttled; not now"),
        ("throttled=0x80008\n", "problem", "now: close to the limit of temperature"),
        ("throttled=0x2\n", "problem", "now: clock capped"),
        ("VCHI initialization failed", "note", "not known here"),
    ):
        told = replace(machine, run=Commands({"vcgencmd": Answer(0, text)}, computes(CPU)))
        one = found(told)["heat throttling"]
        assert (one.state, says in one.found) == (state, True), (text, one)
    # Without vcgencmd, as in a container, the kernel tells the same.
    without = replace(machine, run=Commands({}, computes(CPU)))
    folder_of(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"})
    assert found(without)["heat throttling"].found == "now: under-voltage, throttled"


V1 = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("group", "limits", "cores", "state", "says"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 4, "note", "of 2 of 4"),
        ("0::/", {"cpu.max": "400000 100000"}, 4, "ok", "of 4"),
        ("0::/", {"cpu.max": "max 100000"}, 4, "ok", "none"),
        ("", dict(zip(V1, ("-1", "100000"), strict=True)), 4, "ok", "none"),
        ("", dict(zip(V1, ("50000", "100000"), strict=True)), 4, "note", "of 0.5 of 4"),
        ("2:cpu:/x", dict(zip(V1, ("50000", "100000"), strict=True)), 4, "note", "of 0.5 of 4"),
        ("0::/a/b/c", {"a/cpu.max": "300000 100000", "a/b/c/cpu.max": "900000 100000"}, 8, "note", "of 3 of 8"),
        ("0::/../../x", {"cpu.max": "100000 100000", "../../x/cpu.max": "1 100000"}, 2, "note", "of 1 of 2"),
        ("0::/a", {"b/cpu.max": "100000 100000"}, 2, "ok", "none"),
    ],
)
def test_quotas(group: str, limits: dict[str, str], cores: int, state: str, says: str, tmp_path: Path) -> None:
    files = {"proc/self/cgroup": group} | {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    one = found(host(tmp_path, files, Commands({}, computes(CPU)), cores=cores))["processor quota"]
    assert (one.state, says in one.found) == (state, True), one


def test_cores_that_may_not_be_used_and_flags_that_only_some_cores_have(tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    one = found(replace(machine, cores=2))["processor cores"]
    assert one.state == "note" and one.found.startswith("2 of 6 may be used") and one.remedy.startswith("--threads 2,")
    described = PC["proc/cpuinfo"].replace("avx2", "avx2 avx_vnni")
    folder_of(tmp_path, {"proc/cpuinfo": described})
    assert found(machine)["processor instructions"].found == "SSE4.2, AVX, AVX2, AVX-VNNI: products of bytes are fast"
    folder_of(tmp_path, {"proc/cpuinfo": described.replace("avx2 avx_vnni", "avx2", 1)})
    assert found(machine)["processor instructions"].state == "note"


def test_temperatures_are_held_against_trip_points_that_slow_down(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0/"
    for temp, trip, kind, state in (
        (70000, 75000, "passive", "ok"),
        (75000, 75000, "passive", "problem"),
        (75000, 60000, "active", "ok"),
        (75000, 0, "passive", "ok"),
        (75000, 20000, "passive", "ok"),
        (85000, 105000, "critical", "problem"),
        (84000, 105000, "critical", "ok"),
    ):
        files = {"type": "pkg", "temp": str(temp), "trip_point_0_temp": str(trip), "trip_point_0_type": kind}
        machine = host(tmp_path, {zone + name: text for name, text in files.items()}, Commands({}, computes(CPU)))
        assert found(machine)["heat temperature"].state == state, (temp, trip, kind)
    folder_of(tmp_path, {zone + "temp": "100000", zone + "type": "PMIC-Die"})  # a Jetson Nano's, always 100 C
    assert found(machine)["heat temperature"].found == "not known here"


def test_power_modes_of_a_jetson(tmp_path: Path) -> None:
    machine = orin(tmp_path)

    def mode(answer: Answer) -> tuple[str, str]:
        one = found(replace(machine, run=Commands({"nvpmodel": answer}, computes(CPU))))["jetson power mode"]
        return one.state, one.found

    assert mode(Answer(0, "NV Power Mode: MAXN_SUPER\n2\n")) == ("ok", "MAXN_SUPER")
    assert mode(Answer(0, "NVPM VERB: Current mode: NV Power Mode: 7W\n3\n")) == ("note", "7W; MAXN_SUPER is faster")
    assert mode(NO_FILE) == ("note", "25W; MAXN_SUPER is faster")  # of its status file
    (tmp_path / "var/lib/nvpmodel/status").unlink()
    assert mode(NO_FILE)[1] == "not known here"
    folder_of(tmp_path, {"etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n"})
    assert mode(Answer(0, "NV Power Mode: 15W\n0\n")) == ("ok", "15W, the highest of this module")
    held = {"min_freq": "918000000", "max_freq": "918000000"}
    folder_of(tmp_path, {f"sys/class/devfreq/17000000.gpu/{name}": text for name, text in held.items()})
    assert found(machine)["jetson clocks"].state == "note"
    for policy in (0, 1):
        folder_of(tmp_path, {f"sys/devices/system/cpu/cpufreq/policy{policy}/scaling_min_freq": "1344000"})
    assert found(machine)["jetson clocks"].state == "ok"


def test_releases_of_a_jetson(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    for line, state, says in (
        ("# R35 (release), REVISION: 5.0, GCID: 1", "note", "JetPack 5"),
        ("# R32 (release), REVISION: 7.1, GCID: 1", "note", "JetPack 4"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "ok", "L4T 38.2.0, JetPack 7"),
        ("# R99 (release), REVISION: 1.0, GCID: 1", "ok", "L4T 99.1.0"),
    ):
        folder_of(tmp_path, {"etc/nv_tegra_release": line})
        one = found(machine)["jetson release"]
        assert (one.state, says in one.found) == (state, True), one


def test_pypis_onnxruntime_on_an_orin(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    versions = {"spade-edge": "0.1.0", "numpy": "2.2.6"}
    kernels = Answer(0, json.dumps({"error": "Fail: CUDA failure 209: no kernel image is available for execution"}))
    broken = replace(machine, run=Commands({}, computes(CUDA, CPU) | {CUDA: kernels}))
    pypi = replace(DEVICE, versions=versions | {"onnxruntime-gpu": "1.30.0"})
    nvidia = replace(DEVICE, versions=versions | {"onnxruntime-gpu": "1.23.0"})
    assert found(broken, pypi)["gpu gpu"].state == "problem"
    assert "no kernel image" in found(broken, pypi)["providers cuda"].found
    assert "nvidia-jetpack" in found(broken, pypi)["providers cuda"].remedy
    assert found(broken, nvidia)["gpu gpu"].state == "ok"
    works = replace(machine, run=Commands({}, computes(CUDA, CPU)))
    assert found(works, pypi)["gpu gpu"].state == "ok" and "gpu use" not in found(works, pypi)


def test_providers_that_do_not_compute(tmp_path: Path) -> None:
    machine = industrial(tmp_path)

    def cuda(answer: Any, **answers: Answer) -> Finding:
        smi = {"nvidia-smi": Answer(0, NVIDIA_SMI.format(reasons="0x0"))} | answers
        return found(replace(machine, run=Commands(smi, computes(CUDA, CPU) | {CUDA: answer})))["providers cuda"]

    assert cuda({"provider": CUDA, "right": True}).state == "ok"
    for answer, says in (
        (Answer(-11), "crashed (SIGSEGV)"),
        (Answer(-4), "crashed (SIGILL)"),
        (Answer(None, err="no answer within 60 s"), "no answer within 60 s"),
        ({"provider": CPU, "right": True}, "CPUExecutionProvider ran instead"),
        ({"provider": CUDA, "right": False}, "the numbers are wrong"),
        (Answer(1, "", "Traceback\nMemoryError\n"), "MemoryError"),
        (Answer(None), "does not say why"),
        ({"error": "/a/b.cc:1 void f()"}, "does not say why"),
        (
            Answer(
                0,
                json.dumps({"error": "x the default CPU EP"}),
                "EP Error /a/b.cc:1 void f(int) CUDA failure 35 when using [x]",
            ),
            "does not run: CUDA failure 35",
        ),
        ({"error": "Fail: nodes are assigned to the default CPU EP"}, "would have run it on the CPU"),
    ):
        one = cuda(answer)
        assert one.state == "problem" and says in one.found, one
    # A driver that is missing is one thing, a GPU that is missing another.
    libcuda = replace_library("libcuda.so.1")
    assert "NVIDIA's driver" in cuda(libcuda).remedy
    assert "NVIDIA's driver" in cuda(CUDNN, **{"nvidia-smi": Answer(9, "couldn't communicate with the driver")}).remedy
    shutil.rmtree(tmp_path / "sys/bus")
    assert "pip uninstall onnxruntime-gpu" in cuda(CUDNN, **{"nvidia-smi": NO_FILE}).remedy


def replace_library(name: str) -> Answer:
    return Answer(0, CUDNN.out, CUDNN.err.replace("libcudnn.so.9", name))


def test_tensorrt_that_is_installed_but_does_not_run_is_a_problem(tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    tried = computes(TENSORRT, CUDA, CPU)
    for answer, cuda, state in (
        (TENSORRT_MISSING, tried[CUDA], "note"),
        ({"error": "engine not built"}, tried[CUDA], "problem"),
        ({"error": "engine not built"}, CUDNN, "note"),  # CUDA's problem, said there
    ):
        told = replace(machine, run=Commands({}, tried | {TENSORRT: answer, CUDA: cuda}))
        assert found(told)["providers tensorrt"].state == state


def test_onnxruntime_that_is_installed_but_does_not_load(tmp_path: Path) -> None:
    machine = replace(industrial(tmp_path), run=Commands({}, {"onnxruntime": Answer(-4)}))
    one = found(machine)["providers onnxruntime"]
    assert one.state == "problem" and "SIGILL" in one.found


def test_gpus(tmp_path: Path) -> None:
    machine = industrial(tmp_path)

    def gpu(answer: Answer) -> dict[str, Finding]:
        return found(replace(machine, run=Commands({"nvidia-smi": answer}, computes(CPU))))

    for reasons, state, says in (
        ("0x0000000000000020", "problem", "heat"),
        ("0x0000000000000088", "problem", "hardware slowdown, power brake"),
        ("0x0000000000000004", "note", "at its power limit"),
        ("[N/A]", "ok", "driver 550.90.07"),
    ):
        one = gpu(Answer(0, NVIDIA_SMI.format(reasons=reasons)))["gpu gpu 0"]
        assert (one.state, says in one.found) == (state, True), one
    hot = gpu(Answer(0, NVIDIA_SMI.format(reasons="0x1").replace("64", "91")))["gpu gpu 0"]
    assert hot.state == "problem" and "too hot" in hot.found
    two = gpu(Answer(0, NVIDIA_SMI.format(reasons="0x0") * 2))
    assert {"gpu gpu 0", "gpu gpu 1", "gpu use"} <= set(two)
    broken = gpu(Answer(9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"))
    assert broken["gpu driver"].state == "note" and "communicate" in broken["gpu driver"].found
    assert "nvidia-smi is missing" in gpu(NO_FILE)["gpu driver"].found
    # A driver before 510 does not know compute_cap.
    five = Answer(0, NVIDIA_SMI.format(reasons="0x0").replace(", 8.6", ""))
    both = Commands({}, computes(CPU))
    ask = both.__call__

    def old(arguments: Sequence[str], **more: Any) -> Answer:
        if arguments[0] == "nvidia-smi":
            return Answer(2, 'Field "compute_cap" is not valid') if "compute_cap" in arguments[1] else five
        return ask(arguments, **more)

    assert found(replace(machine, run=old))["gpu gpu 0"].found.endswith("12288 MB, 64 C")


def test_cameras_that_this_user_may_not_open(tmp_path: Path) -> None:
    machine = replace(industrial(tmp_path), opens=lambda path: path.name != "video1")
    one = found(machine)["cameras video devices"]
    assert one.state == "problem" and one.found.endswith("this user may not open /dev/video1")
    assert "usermod -aG video" in one.remedy


def test_gentl_producers(tmp_path: Path) -> None:
    machine = industrial(tmp_path)

    def producers(value: str, *, harvesters: bool = True) -> Finding:
        installed = replace(DEVICE, versions={**DEVICE.versions} | ({"harvesters": "1.4.3"} if harvesters else {}))
        changed = replace(machine, environment={"GENICAM_GENTL64_PATH": value})
        return found(changed, installed)["cameras gentl producers"]

    assert producers("").state == "ok"
    assert producers("/opt/maker/lib").found == "maker.cti"
    assert producers("/opt/maker/lib:/gone").state == "note"
    assert producers("/opt/maker/lib", harvesters=False).remedy == "pip install 'spade-edge[genicam]'"
    for value in ("/gone", "/etc", ":/opt:"):
        assert producers(value).state == "problem", value


def test_opencv_with_gstreamer_serves_a_jetsons_camera(tmp_path: Path) -> None:
    machine = orin(tmp_path)
    folder_of(tmp_path, {"tmp/argus_socket": ""})
    system = replace(machine, run=Commands({}, computes(CPU) | {"opencv": SYSTEM_OPENCV}))
    findings = found(system, WITH_OPENCV)
    assert findings["cameras opencv video"].found == "OpenCV 4.8.0 with GStreamer, FFmpeg, V4L"
    assert findings["cameras csi"].state == findings["cameras opencv video"].state == "ok"
    broken = replace(machine, run=Commands({}, {"opencv": {"error": "ImportError: libGL.so.1: cannot open"}}))
    one = found(broken, WITH_OPENCV)["cameras opencv video"]
    assert one.state == "problem" and "libGL.so.1" in one.found


def test_disk_of_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = industrial(tmp_path)
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(memory.shutil, "disk_usage", usage)
    free = 3 * 10**9
    one = found(machine)["memory cache folder"]
    assert one.state == "ok" and one.found.startswith(f"{tmp_path}/home/.cache/spade-edge, 3.0 GB")
    assert asked == [tmp_path / "home/.cache"]  # spade-edge's own is not there yet
    free = 10**9
    assert found(machine)["memory cache folder"].state == "note"
    elsewhere = replace(machine, environment={"XDG_CACHE_HOME": str(tmp_path / "disk")})
    assert f"{tmp_path}/disk/spade-edge" in found(elsewhere)["memory cache folder"].found
    relative = replace(machine, environment={"XDG_CACHE_HOME": "disk"})
    assert f"{tmp_path}/home/.cache" in found(relative)["memory cache folder"].found
    closed = replace(machine, opens=lambda path: False)
    assert "may not write" in found(closed)["memory cache folder"].found


def test_a_bundle_that_fits_and_one_that_does_not(edge: Built, tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    findings = found(machine, folder=edge.path)
    assert findings["bundle header"].found.startswith("resnet18 fp32, 1 view of 64x64, 8 good images, ")
    assert findings["bundle files"].state == findings["bundle precision"].state == "ok"
    sizes = sum(file.size for role, file in edge.manifest.files.items() if not role.startswith("golden"))
    memory_row = findings["memory memory"]
    assert memory_row.state == "ok" and f"the bundle needs {(sizes + 250e6) / 1e6:.0f} MB" in memory_row.found
    folder_of(tmp_path, {"proc/meminfo": memory_of(1_000_000, (sizes + 250_000_000 - 1) // 1024)})
    assert found(machine, folder=edge.path)["memory memory"].state == "problem"
    folder_of(tmp_path, {"proc/meminfo": memory_of(1_000_000, (sizes + 250_000_000) // 1024 + 1)})
    assert found(machine, folder=edge.path)["memory memory"].state == "ok"


def test_a_bundle_that_is_damaged(edge: Built, tmp_path: Path) -> None:
    machine = industrial(tmp_path / "pc")
    for name in ("short", "missing", "altered", "none"):
        copy = shutil.copytree(edge.path, tmp_path / name)
        file = copy / edge.manifest.files["level2"].name
        if name == "short":
            file.write_bytes(file.read_bytes()[:-1])
        elif name == "missing":
            file.unlink()
        elif name == "altered":
            (copy / FILE).write_text("{}")
        else:
            shutil.rmtree(copy)
        findings = found(machine, folder=copy)
        row = "bundle files" if name in ("short", "missing") else "bundle header"
        assert findings[row].state == "problem", name


@pytest.mark.parametrize(
    ("precision", "target", "providers", "state"),
    [
        ("fp32", None, (CPU,), "ok"),
        ("fp32", None, (CUDA, CPU), "ok"),
        ("fp16", None, (CPU,), "note"),
        ("fp16", None, (CUDA, CPU), "ok"),
        ("int8", "cpu", (CPU,), "ok"),
        ("int8", "cpu", (CUDA, CPU), "note"),
        ("int8", "tensorrt", (CPU,), "note"),
        ("int8", "tensorrt", (CUDA, CPU), "note"),
        ("int8", "tensorrt", (TENSORRT, CUDA, CPU), "ok"),
    ],
)
def test_precision_and_what_computes_here(
    precision: str, target: str | None, providers: tuple[str, ...], state: str, edge: Built, tmp_path: Path
) -> None:
    quantisation = {} if target is None else {"target": target}
    bundle = altered(edge.path, tmp_path / "b", "model", precision=precision, quantisation=quantisation)
    machine = replace(industrial(tmp_path / "pc"), run=Commands({}, computes(*providers)))
    assert found(machine, folder=bundle)["bundle precision"].state == state


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
    assert err == (
        "spade-edge: expected a machine without a problem, found 2 (cameras csi, cameras opencv video); "
        "see the remedies\n"
    )
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100 and out.isascii()
    kinds = [line for line in lines if re.match(r"[a-z]", line)]
    assert kinds == [
        "packages", "system", "jetson", "processor", "clock", "heat", "memory", "providers", "gpu", "cameras",
    ]  # fmt: skip
    assert "  PROBLEM  csi               a CSI camera is there, but nvargus-daemon does not listen at" in out
    assert "  note     power mode        15W; MAXN_SUPER is faster\n" in out
    assert "                             -> sudo nvpmodel -m 2, if power supply and cooling are made for it\n" in out
    last = lines[lines.index("2 problems, 6 notes") :]
    assert last[1].startswith("  cameras, csi: a CSI camera is there")
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
