"""Cameras: what the system shows, whether this user may open it, and what OpenCV and GenTL can do with it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from spade_edge.tools.doctor.board import Board
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.host import Host
from spade_edge.tools.doctor.packages import Packages
from spade_edge.tools.doctor.providers import PATIENCE, ask, given, reason
from spade_edge.tools.sources.cameras.genicam import PRODUCERS

KIND = "cameras"
SOCKET = "tmp/argus_socket"  # of nvargus-daemon, which has a Jetson's CSI cameras
NO_CAMERA = re.compile(r"(bcm2835-(codec|isp)|rpi|pispbe|rp1-cfe|unicam)")  # parts of a Raspberry Pi's video engine
BACKENDS = {"GStreamer": r"GStreamer: +YES", "FFmpeg": r"FFMPEG: +YES", "V4L": r"v4l/v4l2: +YES"}


def look(host: Host, board: Board, packages: Packages) -> list[Finding]:
    """Video devices, a Jetson's CSI, GenTL producers, what OpenCV was built with."""
    csi = [_argus(host)] if board.jetson and _csi(host) else []
    return [_devices(host, board), *csi, _producers(host, packages), _opencv(host, board, packages)]


def _names(host: Host) -> dict[Path, str]:
    """The video devices, and what their drivers call them."""
    devices = [path for path in host.find("dev/video*") if re.fullmatch(r"video[0-9]+", path.name)]
    return {path: host.label(f"sys/class/video4linux/{path.name}/name") or "of an unknown name" for path in devices}


def _csi(host: Host) -> bool:
    return any(name.startswith("vi-output") for name in _names(host).values())


def _devices(host: Host, board: Board) -> Finding:
    name = "video devices"
    if host.system != "Linux":
        return unknown(KIND, name, host.hidden)
    named = _names(host)
    cameras = {path: label for path, label in named.items() if not NO_CAMERA.match(label)}
    if not cameras:
        none = "none; network and GenICam cameras need none"
        if board.raspberry and named:
            none = "none but the Raspberry Pi's own video engine; its camera sockets are libcamera's, not OpenCV's"
        return Finding(KIND, name, OK, none)
    listed = ", ".join(f"/dev/{path.name} {label}" for path, label in cameras.items())
    closed = [f"/dev/{path.name}" for path in cameras if not host.opens(path)]
    if closed:
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"{listed}; this user may not open {', '.join(closed)}",
            "sudo usermod -aG video and the user's name, then log in anew; for a container --device and --group-add",
        )
    return Finding(KIND, name, OK, listed)


def _argus(host: Host) -> Finding:
    name = "csi"
    if host.path(SOCKET).exists():
        return Finding(KIND, name, OK, "nvargus-daemon listens")
    return Finding(
        KIND,
        name,
        PROBLEM,
        f"a CSI camera is there, but nvargus-daemon does not listen at /{SOCKET}",
        f"sudo systemctl restart nvargus-daemon; for a container mount /{SOCKET}",
    )


def _producers(host: Host, packages: Packages) -> Finding:
    name = "gentl producers"
    value = host.environment.get(PRODUCERS, "")
    folders = [Path(folder) for folder in value.split(os.pathsep) if folder]
    if not folders:
        return Finding(KIND, name, OK, f"none: {PRODUCERS} is not set; GenICam cameras need one, others do not")
    there = {folder: host.path(str(folder)) if folder.is_absolute() else folder for folder in folders}
    found = [producer for place in there.values() for producer in _files(place)]
    absent = [str(folder) for folder, place in there.items() if not place.is_dir()]
    if not found:
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"none: {PRODUCERS} lists {value[:100]}, "
            + ("where no .cti file lies" if len(absent) < len(folders) else "which does not exist"),
            "install the camera maker's SDK, or set it to the folder in which its .cti file lies",
        )
    listed = ", ".join(producer.name for producer in found)
    if "harvesters" not in packages.versions:
        return Finding(
            KIND,
            name,
            NOTE,
            f"{listed}, but harvesters, which loads them, is not installed",
            "pip install 'spade-edge[genicam]'",
        )
    if absent:
        return Finding(KIND, name, NOTE, f"{listed}; {', '.join(absent)} does not exist", f"take it out of {PRODUCERS}")
    return Finding(KIND, name, OK, listed)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.cti"))
    except (OSError, ValueError):
        return []


def _opencv(host: Host, board: Board, packages: Packages) -> Finding:
    name = "opencv video"
    if "cv2" not in packages.modules:
        return Finding(KIND, name, OK, "OpenCV is not installed; [camera] brings it, frames on stdin need none")
    answer = ask(host, "opencv", PATIENCE)
    value = given(answer)
    build = value.get("build")
    if not isinstance(build, str):
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"OpenCV does not load: {reason(answer)}",
            "pip install opencv-python-headless needs no desktop libraries; a system's OpenCV: apt install it anew",
        )
    has = [backend for backend, pattern in BACKENDS.items() if re.search(pattern, build)]
    lacks = [backend for backend in BACKENDS if backend not in has]
    found = f"OpenCV {str(value.get('version'))[:20]} with {', '.join(has) or 'no way to video'}"
    if "GStreamer" in has:
        return Finding(KIND, name, OK, found)
    found += f", without {', '.join(lacks)}"
    remedy = "the system's OpenCV: JetPack's on a Jetson, else apt install python3-opencv; PyPI's has no GStreamer"
    if board.jetson and _csi(host):
        return Finding(KIND, name, PROBLEM, f"{found}: the CSI camera (csi://) does not open", remedy)
    if board.jetson or board.raspberry:
        return Finding(KIND, name, NOTE, f"{found}: csi:// and pipelines do not open", remedy)
    return Finding(KIND, name, OK, f"{found}, as PyPI's: pipelines and csi:// need the system's OpenCV")
