"""What a stranger installs: the sdist, and the wheel built from it, hold what the repository holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

import spade_edge

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("runtime", "export", "galleries", "tools")
PACKAGE = ("__init__.py", "__main__.py", "py.typed", *FOLDERS)

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says which files there are")


def listed(*paths: str) -> set[str]:
    """The repository's files below the paths: those that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in names if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and with the wheel that was built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("distribution")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def members(distribution: Path) -> dict[str, tarfile.TarInfo]:
    """The sdist's entries by their path below its one folder."""
    (sdist,) = distribution.glob("*.tar.gz")
    folder = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        return {PurePosixPath(entry.name).relative_to(folder).as_posix(): entry for entry in archive}


@pytest.fixture(scope="module")
def wheel(distribution: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = distribution.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {f"spade_edge/{name}" for name in listed(*PACKAGE)}
    assert {"spade_edge/__init__.py", "spade_edge/py.typed", "spade_edge/runtime/scorer.py"} <= expected
    assert found == expected


def test_wheel_holds_the_bytes_of_the_repository(wheel: zipfile.ZipFile) -> None:
    for name in listed(*PACKAGE):
        assert wheel.read(f"spade_edge/{name}") == (ROOT / name).read_bytes(), name


def test_wheel_brings_the_licence_and_the_command(wheel: zipfile.ZipFile, metadata: Message) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    (entry_points,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert wheel.read(entry_points).decode().split("\n")[:2] == [
        "[console_scripts]",
        "spade-edge = spade_edge.tools.cli.start:main",
    ]


def test_metadata_says_what_a_package_index_shows(metadata: Message) -> None:
    assert metadata["Name"] == "spade-edge"
    assert metadata["Version"] == spade_edge.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


def test_a_device_needs_numpy_alone_and_each_extra_brings_its_own(metadata: Message) -> None:
    needed: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition("extra == ")
        package = re.split("[^a-z0-9-]", requirement)[0]
        needed.setdefault(marker.strip("'\""), set()).add(package)
    assert needed[""] == {"numpy"}
    assert needed["cpu"] == {"onnxruntime"}
    assert needed["gpu"] == {"onnxruntime-gpu"}
    assert {"torch", "torchvision", "onnx"} <= needed["export"]
    assert {"hnswlib", "opencv-python-headless"} <= needed["galleries"]
    assert needed["camera"] == {"av", "opencv-python-headless"}
    assert needed["sign"] == {"cryptography"}
    assert needed["run"] == needed["camera"] | {"tomli"}
    outputs = {"mqtt": "paho-mqtt", "opcua": "asyncua", "modbus": "pymodbus", "gpio": "gpiod"}
    assert {name: needed[name] for name in outputs} == {name: {package} for name, package in outputs.items()}
    assert needed["page"] == {"starlette", "uvicorn", "prometheus-client"}
    assert needed["line"] == set.union(*(needed[name] for name in ("run", "page", *outputs)))
    assert needed["registry"] == {"oras"} and needed["remote"] == {"fsspec", "s3fs"}
    assert {"gcsfs"} | needed["remote"] == needed["gcs"] and {"adlfs"} | needed["remote"] == needed["azure"]
    parts = ("run", "mqtt", "page", "sign", "galleries", "remote", "registry")
    assert needed["fleet"] == set.union(*(needed[name] for name in parts))
    assert needed["ray"] == needed["fleet"] | {"ray"}
    assert needed["workstation"] == set.union(*(needed[x] for x in ("export", "galleries", "camera", "demo", "sign")))
    assert needed["all"] == needed["workstation"] | needed["cpu"]
    assert needed["timm"] >= {"timm"} and "timm" not in needed["all"]
    assert needed["all"] < needed["dev"]


def test_only_the_extra_that_chooses_a_build_of_onnxruntime_brings_one(metadata: Message) -> None:
    """Two builds in one environment overwrite each other, and pip does not refuse that."""
    brought: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition("; extra == ")
        if requirement.startswith("onnxruntime"):
            brought.setdefault(marker.strip("'\""), set()).add(requirement.partition(">")[0])
    assert brought == {
        "cpu": {"onnxruntime"},
        "gpu": {"onnxruntime-gpu"},
        "all": {"onnxruntime"},
        "dev": {"onnxruntime"},
    }


def test_sdist_holds_the_package_its_tests_and_its_documents(members: dict[str, tarfile.TarInfo]) -> None:
    documents = ("README.md", "LICENSE", "docs", "constraints.txt", "pyproject.toml")
    assert listed(*PACKAGE, "tests", *documents) <= set(members)


def test_sdist_holds_no_links_and_nothing_that_was_generated(members: dict[str, tarfile.TarInfo]) -> None:
    assert not [name for name, entry in members.items() if not entry.isfile()]
    assert set(members) <= listed(".") | {"PKG-INFO"}
    assert not [name for name in members if name.startswith((".dev", ".ci", ".venv"))]
