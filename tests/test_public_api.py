"""`import spade_edge`: names that load when they are used, types for checkers, and a clear error without an extra."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import spade_edge
from spade_edge.galleries import Built

HEAVY = ("numpy", "onnxruntime", "torch", "torchvision", "onnx", "cv2", "hnswlib", "tqdm")


def python(code: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("use", "loads"),
    [
        ("", []),
        ("dir(spade_edge)", []),
        ("spade_edge.Scorer", ["numpy"]),
        ("spade_edge.open_source", ["numpy"]),
        ("spade_edge.BuildOptions", ["numpy"]),
        ("spade_edge.parity", ["numpy"]),
        ("spade_edge.prepare", ["numpy"]),
    ],
)
def test_a_name_loads_only_what_it_needs(use: str, loads: list[str]) -> None:
    assert python(f"import sys, spade_edge; {use or '0'}; print([n for n in {HEAVY} if n in sys.modules])") == str(
        loads
    )


def test_every_public_name_is_there_and_the_object_of_its_module() -> None:
    assert set(spade_edge.__all__) <= set(dir(spade_edge))
    assert set(spade_edge.__all__) == set(spade_edge._HOME_OF)
    for name, (module, _) in spade_edge._HOME_OF.items():
        assert getattr(spade_edge, name) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match="no_such_name"):
        spade_edge.no_such_name  # noqa: B018


def test_type_checkers_see_every_name_where_it_is_loaded_from() -> None:
    tree = ast.parse(Path(spade_edge.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert imports == {name: module for name, (module, _) in spade_edge._HOME_OF.items()}


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("export_model", "torch", "export"),
        pytest.param("export_model", "onnx", "export", marks=pytest.mark.slow),  # imports torch first
        ("evaluate", "cv2", "camera"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(name: str, package: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import spade_edge
try:
    spade_edge.{name}
except Exception as problem:
    print(type(problem).__name__, problem)
"""
    assert python(code) == (
        f"DeviceError spade_edge.{name} needs {package}, which is not installed: pip install 'spade-edge[{extra}]'"
    )


def test_the_command_is_also_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "spade_edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"spade-edge {spade_edge.__version__}\n"


def test_evaluate_takes_paths_as_well_as_objects(
    edge: Built, part: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    for name, image in {"good/0": part(0), "spot/1": part(51, flaw=True)}.items():
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / f"{name}.npy", image)
    by_path = spade_edge.evaluate(edge.path, str(tmp_path))
    by_object = spade_edge.evaluate(spade_edge.Scorer.open(edge.path), spade_edge.open_dataset(tmp_path))
    assert [image.score for image in by_path.images] == [image.score for image in by_object.images]
    assert by_path.image_auroc.value == 1


def test_parity_and_preparation_are_functions(edge: Built, part: Callable[..., NDArray[np.uint8]]) -> None:
    golden = spade_edge.golden_parity(edge.path)
    assert max(golden.worst.values()) == 0 and golden.flips == 0
    with pytest.raises(spade_edge.UsageError):
        spade_edge.parity([edge.path], [part(0)])
    with pytest.raises(spade_edge.DataError):
        spade_edge.parity([edge.path, edge.path], [])
    with pytest.raises(spade_edge.DeviceError):
        spade_edge.parity([edge.path], [part(0)], provider=spade_edge.Provider("FakeExecutionProvider"))
    prepared = spade_edge.prepare(edge.path, provider=spade_edge.Provider("cpu"))
    assert prepared.golden == 0 and prepared.engines is None and prepared.first_frame > 0


def test_a_path_may_be_text_and_a_mistake_is_an_error_of_ours(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(spade_edge.DataError):
        spade_edge.build(absent, model="m.onnx", output=str(tmp_path / "b.spade"))
    with pytest.raises(spade_edge.BundleError):
        spade_edge.set_threshold(absent, rate=0.1, reason="a test")
    with pytest.raises(spade_edge.DataError):
        spade_edge.open_dataset(absent)
    with pytest.raises(spade_edge.DataError):
        spade_edge.evaluate(absent, absent)
    with pytest.raises(spade_edge.BundleError):
        spade_edge.golden_parity(absent)
    with pytest.raises(spade_edge.UsageError):
        spade_edge.parity([], [])
