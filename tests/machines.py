"""Machines for the doctor: folders of files, answers of commands, and what is found on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spade_edge.tools.doctor import Finding, Host, examine
from spade_edge.tools.doctor.packages import Packages, Requirement
from spade_edge.tools.hardware.commands import Answer

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
    """Answers by program, and those of `probe` by what it is to try."""

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


def computes(*names: str, full_bytes: bool = True, wanted: str = "", **tensorrts: str) -> dict[str, Any]:
    """What `probe` says where all providers compute; `tensorrts` are versions by the number of their library, "_10"."""
    told: dict[str, Any] = {"onnxruntime": {"version": "1.23.0", "providers": list(names)}}
    libraries = {f"libnvinfer.so.{number[1:]}": version for number, version in tensorrts.items()}
    told["tensorrt"] = {"wanted": wanted, "found": libraries}
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
        assert "internal error in doctor" not in one.found, one
    by_name = {f"{one.kind} {one.name}": one for one in findings}
    assert len(by_name) == len(findings)
    return by_name
