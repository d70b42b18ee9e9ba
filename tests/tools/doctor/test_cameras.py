"""Video devices, GenTL producers and OpenCV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from machines import (
    CPU,
    DEVICE,
    SYSTEM_OPENCV,
    WITH_OPENCV,
    Commands,
    computes,
    folder_of,
    found,
    industrial,
    orin,
)

from spade_edge.tools.doctor import Finding


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
