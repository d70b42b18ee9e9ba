"""The system: name, board, and whether packages exist for its C library and word length."""

from __future__ import annotations

import re

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host

KIND = "system"
WHEELS_GLIBC = (2, 28)  # manylinux_2_28: the current wheels of numpy and onnxruntime
X86_64, ARM_64 = ("x86_64", "AMD64"), ("aarch64", "arm64", "ARM64")


def findings(host: Host, board: Board, *, runs: bool) -> list[Finding]:
    """System, board if there is a device tree, userland and C library. `runs`: whether onnxruntime loads."""
    found = [Finding(KIND, "system", OK, _system(host))]
    if board.model:
        found.append(Finding(KIND, "board", OK, board.model))
    return [*found, _userland(host, board, runs), _libc(host, runs)]


def _system(host: Host) -> str:
    release = re.search(r'^PRETTY_NAME="?([^"\n]{1,100})"?$', host.text("etc/os-release") or "", re.MULTILINE)
    name = release.group(1) if release is not None and host.system == "Linux" else host.system or "unknown"
    inside = any(host.path(mark).exists() for mark in (".dockerenv", "run/.containerenv"))
    return f"{name}, kernel {host.release}, {host.machine}" + (", in a container" if inside else "")


def _userland(host: Host, board: Board, runs: bool) -> Finding:
    name = "userland"
    if host.bits == 32:
        kernel = f" on a 64-bit kernel ({host.machine})" if host.machine in (*X86_64, *ARM_64) else ""
        system = "the 64-bit Raspberry Pi OS" if board.raspberry else "a 64-bit system, and its Python"
        return Finding(
            KIND,
            name,
            NOTE if runs else PROBLEM,
            f"32-bit Python{kernel}: PyPI has no onnxruntime for it",
            f"install {system}",
        )
    if host.machine not in (*X86_64, *ARM_64):
        return Finding(
            KIND,
            name,
            NOTE,
            f"{host.bits}-bit, {host.machine or 'unknown'}: spade-edge was only tested on x86-64 and aarch64",
            "check whether 'pip install onnxruntime' finds a package for it",
        )
    return Finding(KIND, name, OK, f"{host.bits}-bit Python")


def _libc(host: Host, runs: bool) -> Finding:
    name = "C library"
    version = re.fullmatch(r"glibc ([0-9]{1,4})\.([0-9]{1,4}).*", host.libc)
    if version is not None:
        if (int(version.group(1)), int(version.group(2))) < WHEELS_GLIBC:
            return Finding(
                KIND,
                name,
                NOTE,
                f"{host.libc}: current packages are built for {'.'.join(map(str, WHEELS_GLIBC))} or newer",
                "pip installs older versions, or compiles; a newer system avoids this",
            )
        return Finding(KIND, name, OK, host.libc)
    if host.find("lib/ld-musl-*.so.1"):
        return Finding(
            KIND,
            name,
            NOTE if runs else PROBLEM,
            "musl (Alpine): PyPI has no onnxruntime for it",
            "use a Debian or Ubuntu image, e.g. python:3.12-slim",
        )
    return unknown(KIND, name, host.hidden)
