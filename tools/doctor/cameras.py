"""Cameras: video devices, permissions, GenTL producers, and what OpenCV was built with."""

from __future__ import annotations

import os
import re
from pathlib import Path

from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding, unknown
from spade_edge.tools.doctor.packages import Packages
from spade_edge.tools.doctor.providers import PATIENCE, ask, parsed, reason
from spade_edge.tools.hardware.board import Board
from spade_edge.tools.hardware.host import Host
from spade_edge.tools.sources.cameras.genicam import PRODUCERS

KIND = "cameras"
SOCKET = "tmp/argus_socket"  # of nvargus-daemon, which serves the CSI cameras of a Jetson
NO_CAMERA = re.compile(r"(bcm2835-(codec|isp)|rpi|pispbe|rp1-cfe|unicam)")  # parts of a Raspberry Pi's video engine
BACKENDS = {"GStreamer": r"GStreamer: +YES", "FFmpeg": r"FFMPEG: +YES", "V4L": r"v4l/v4l2: +YES"}


def findings(host: Host, board: Board, packages: Packages) -> list[Finding]:
    """Video devices, CSI cameras of a Jetson, GenTL producers and OpenCV."""
    csi = [_argus(host)] if board.jetson and _csi(host) else []
    return [_devices(host, board), *csi, _producers(host, packages), _opencv(host, board, packages)]


def connected(host: Host, packages: Packages) -> list[tuple[str, str]]:
    """The source and the name of each camera of this machine, as far as it can be listed: not those of the network."""
    found = []
    for path, label in _names(host).items():
        index = host.number(f"sys/class/video4linux/{path.name}/index")  # a webcam's second device has no pictures
        if not NO_CAMERA.match(label) and not index:
            found.append((path.name.removeprefix("video"), label))
    if "harvesters" in packages.versions and host.environment.get(PRODUCERS):
        listed = parsed(ask(host, "genicam", PATIENCE)).get("cameras")
        pairs = listed if isinstance(listed, list) else []
        found += [(pair[0], pair[1]) for pair in pairs if _names_a_camera(pair)]
    return found


def _names_a_camera(value: object) -> bool:
    """Whether this is the address and the name of a camera, in characters that may be printed."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(part, str) and part.isprintable() and len(part) <= 200 for part in value)
    )


def _names(host: Host) -> dict[Path, str]:
    """The video devices and the names that their drivers give them."""
    devices = [path for path in host.find("dev/video*") if re.fullmatch(r"video[0-9]+", path.name)]
    return {path: host.label(f"sys/class/video4linux/{path.name}/name") or "without a name" for path in devices}


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
            none = (
                "only the video engine of the Raspberry Pi; its CSI cameras need libcamera, which OpenCV does not use"
            )
        return Finding(KIND, name, OK, none)
    listed = ", ".join(f"/dev/{path.name} {label}" for path, label in cameras.items())
    closed = [f"/dev/{path.name}" for path in cameras if not host.opens(path)]
    if closed:
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"{listed}; this user may not open {', '.join(closed)}",
            "sudo usermod -aG video USER, then log in again; for a container, --device and --group-add",
        )
    return Finding(KIND, name, OK, listed)


def _argus(host: Host) -> Finding:
    name = "csi"
    if host.path(SOCKET).exists():
        return Finding(KIND, name, OK, "nvargus-daemon is running")
    return Finding(
        KIND,
        name,
        PROBLEM,
        f"a CSI camera is present, but nvargus-daemon does not listen at /{SOCKET}",
        f"sudo systemctl restart nvargus-daemon; for a container, mount /{SOCKET}",
    )


def _producers(host: Host, packages: Packages) -> Finding:
    name = "gentl producers"
    value = host.environment.get(PRODUCERS, "")
    folders = [Path(folder) for folder in value.split(os.pathsep) if folder]
    if not folders:
        return Finding(KIND, name, OK, f"none: {PRODUCERS} is not set; only GenICam cameras need one")
    there = {folder: host.path(str(folder)) if folder.is_absolute() else folder for folder in folders}
    found = [producer for place in there.values() for producer in _files(place)]
    absent = [str(folder) for folder, place in there.items() if not place.is_dir()]
    if not found:
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"none: {PRODUCERS} lists {value[:100]}, "
            + ("which contains no .cti file" if len(absent) < len(folders) else "which does not exist"),
            "install the camera maker's SDK, or set the variable to the folder with its .cti file",
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
        return Finding(KIND, name, NOTE, f"{listed}; {', '.join(absent)} does not exist", f"remove it from {PRODUCERS}")
    return Finding(KIND, name, OK, listed)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.cti"))
    except (OSError, ValueError):
        return []


def _opencv(host: Host, board: Board, packages: Packages) -> Finding:
    name = "opencv video"
    if "cv2" not in packages.modules:
        return Finding(KIND, name, OK, "not installed; cameras and videos need [camera], frames on stdin do not")
    answer = ask(host, "opencv", PATIENCE)
    value = parsed(answer)
    build = value.get("build")
    if not isinstance(build, str):
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"OpenCV does not load: {reason(answer)}",
            "pip install opencv-python-headless, which needs no desktop libraries; reinstall a system package with apt",
        )
    has = [backend for backend, pattern in BACKENDS.items() if re.search(pattern, build)]
    lacks = [backend for backend in BACKENDS if backend not in has]
    found = f"OpenCV {str(value.get('version'))[:20]} with {', '.join(has) or 'no video backend'}"
    if "GStreamer" in has:
        return Finding(KIND, name, OK, found)
    found += f", without {', '.join(lacks)}"
    remedy = "use the OpenCV of JetPack, elsewhere apt install python3-opencv; the one from PyPI has no GStreamer"
    if board.jetson and _csi(host):
        return Finding(KIND, name, PROBLEM, f"{found}: the CSI camera (csi://) does not open", remedy)
    if board.jetson or board.raspberry:
        return Finding(KIND, name, NOTE, f"{found}: csi:// and pipelines do not open", remedy)
    return Finding(KIND, name, OK, f"{found}, as from PyPI: pipelines and csi:// need the OpenCV of the system")
