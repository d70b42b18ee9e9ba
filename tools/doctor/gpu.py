"""NVIDIA GPUs, from nvidia-smi or a Jetson's device tree, and whether onnxruntime can use them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.packages import Packages, fits
from spade_edge.tools.doctor.providers import CUDA, Providers
from spade_edge.tools.hardware.board import CHIPS, Board
from spade_edge.tools.hardware.host import Host

KIND = "gpu"
HOT = 85.0  # C
FIELDS = ("name", "driver_version", "memory.total", "temperature.gpu", "clocks_throttle_reasons.active", "compute_cap")
# Bits of NVML's clocks throttle reasons; idle, manual settings and sync boost do not matter here.
SLOWED = {0x08: "hardware slowdown", 0x20: "heat", 0x40: "heat (hardware)", 0x80: "power brake"}
POWER_CAP = 0x04
VENDOR, DISPLAY = 0x10DE, (0x030000, 0x030200)  # PCI: NVIDIA; a display or 3D controller

# From this version on, PyPI's onnxruntime-gpu for aarch64 has kernels for server GPUs, none for Orin and older.
PYPI_ON_ARM = ">=1.30"
NOT_BUILT_FOR = ("tegra210", "tegra186", "tegra194", "tegra234")
LIBRARIES = ("nvidia-jetpack", "cuda-cudart-[0-9]*", "libcudnn[0-9]*", "libnvinfer[0-9]*")


@dataclass(frozen=True)
class Gpus:
    """The NVIDIA hardware of this machine.

    Attributes:
        rows: output of nvidia-smi for each GPU, one text for each of FIELDS; the last may be missing.
        reason: why nvidia-smi fails; empty if it works or is not installed.
        plugged: whether the PCI bus has an NVIDIA GPU.
    """

    rows: tuple[tuple[str, ...], ...] = ()
    reason: str = ""
    plugged: bool = False

    @classmethod
    def of(cls, host: Host) -> Gpus:
        """Ask nvidia-smi and the PCI bus. Drivers before 510 do not know the compute capability."""
        plugged = any(
            _hexadecimal(host.label(device / "vendor")) == VENDOR
            and _hexadecimal(host.label(device / "class")) in DISPLAY
            for device in host.find("sys/bus/pci/devices/*")
        )
        reason = ""
        for fields in (FIELDS, FIELDS[:-1]):
            command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
            answer = host.run(command, timeout=20)
            rows = [tuple(part.strip() for part in line.split(",")) for line in answer.out.splitlines() if line.strip()]
            if answer.code == 0 and rows and all(len(row) == len(fields) for row in rows):
                return cls(rows=tuple(rows), plugged=plugged)
            if answer.code is not None:
                reason = " ".join((answer.out.strip() or answer.err.strip()).split())[:160] or f"exit {answer.code}"
            elif "No such file" not in answer.err:
                reason = answer.err
        return cls(reason=reason, plugged=plugged)


def findings(host: Host, board: Board, gpus: Gpus, providers: Providers, packages: Packages) -> list[Finding]:
    """A row for each GPU, or why there is none, and whether it is used."""
    if board.jetson:
        return [_tegra(board, packages, providers), *_unused(providers, board), _libraries(host)]
    if gpus.rows:
        return [*(_gpu(number, row) for number, row in enumerate(gpus.rows)), *_unused(providers, board)]
    if gpus.plugged or gpus.reason:
        return [
            Finding(
                KIND,
                "driver",
                NOTE,
                f"an NVIDIA GPU is installed, but {gpus.reason or 'nvidia-smi is missing'}"
                if gpus.plugged
                else f"nvidia-smi fails: {gpus.reason}",
                "install the NVIDIA driver, and restart after an update; start a container with docker run --gpus all",
            )
        ]
    return [Finding(KIND, "gpu", OK, "no NVIDIA GPU: scoring runs on the CPU")]


def _gpu(number: int, row: tuple[str, ...]) -> Finding:
    name, driver, memory, temperature, reasons, *capability = row
    found = f"{name}, driver {driver}, {memory} MB, {temperature} C"
    if capability and re.fullmatch(r"[0-9]{1,2}\.[0-9]", capability[0]):
        found += f", compute capability {capability[0]}"
    bits = _hexadecimal(reasons) or 0
    slowed = [label for bit, label in SLOWED.items() if bits & bit]
    hot = re.fullmatch(r"[0-9]{1,3}", temperature) is not None and float(temperature) >= HOT
    if slowed or hot:
        return Finding(
            KIND,
            f"gpu {number}",
            PROBLEM,
            f"{found}; {'slowed down now: ' + ', '.join(slowed) if slowed else 'too hot'}",
            "check dust, fans and cabinet air; for power brake and hardware slowdown, also the power supply",
        )
    if bits & POWER_CAP:
        return Finding(
            KIND, f"gpu {number}", NOTE, f"{found}; at its power limit now", "nvidia-smi -q -d POWER shows the limit"
        )
    return Finding(KIND, f"gpu {number}", OK, found)


def _tegra(board: Board, packages: Packages, providers: Providers) -> Finding:
    name = "gpu"
    if not board.chip:
        return unknown(KIND, name, "see 'cuda' among the providers: only whether it works matters")
    label, capability = CHIPS[board.chip]
    found = f"{label}, compute capability {capability}"
    version = packages.versions.get("onnxruntime-gpu")
    from_pypi = version is not None and fits(version, PYPI_ON_ARM)
    if from_pypi and board.chip in NOT_BUILT_FOR and not providers.works(CUDA):
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"{found}; onnxruntime-gpu {version}, if from PyPI, is not built for it",
            "pip uninstall onnxruntime-gpu, then install NVIDIA's wheel for this JetPack",
        )
    return Finding(KIND, name, OK, found)


def _unused(providers: Providers, board: Board) -> list[Finding]:
    if not providers.version or providers.has(CUDA):
        return []
    remedy = (
        "for the GPU: pip uninstall onnxruntime, then install NVIDIA's onnxruntime-gpu wheel for this JetPack"
        if board.jetson
        else "for the GPU: pip uninstall onnxruntime, then pip install 'spade-edge[gpu]'"
    )
    return [
        Finding(
            KIND, "use", NOTE, f"onnxruntime {providers.version} is built without CUDA: the GPU is not used", remedy
        )
    ]


def _libraries(host: Host) -> Finding:
    name = "libraries"
    command = ["dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Version}\n", *LIBRARIES]
    answer = host.run(command, timeout=20)  # its exit code is 1 if one of the names matches nothing
    found = re.findall(r"^installed ([a-z0-9.+-]{1,60}) (\S{1,60})$", answer.out, re.MULTILINE)
    wanted = [(package, version) for package, version in found if not re.search(r"-(dev|headers|samples|doc)", package)]
    if not wanted:
        return unknown(
            KIND, name, "sudo apt install nvidia-jetpack, unless a container provides them", why="dpkg lists none"
        )
    return Finding(KIND, name, OK, ", ".join(f"{package} {version}" for package, version in wanted))


def _hexadecimal(text: str | None) -> int | None:
    return int(text, 16) if text is not None and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) else None
