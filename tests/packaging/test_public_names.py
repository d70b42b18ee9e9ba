"""The names that others' code may rely on, and what each package says of itself."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

import spade_edge

# A name that leaves this list breaks somebody's program; one that joins it must be kept.
PUBLIC = {
    "spade_edge": [
        "BuildOptions",
        "Built",
        "BundleError",
        "Calibration",
        "Camera",
        "DataError",
        "Dataset",
        "DeviceError",
        "Difference",
        "Drift",
        "DriftChange",
        "DriftOptions",
        "DriftWatch",
        "Evaluation",
        "ExportReport",
        "FollowingScorer",
        "FrameError",
        "FrameResult",
        "GalleryChange",
        "Generation",
        "Grab",
        "Match",
        "Matching",
        "ModelError",
        "PROFILES",
        "Packed",
        "Parity",
        "ParityStage",
        "Plan",
        "Pose",
        "Precision",
        "Preparation",
        "Prospect",
        "Provider",
        "Pruned",
        "Region",
        "Scorer",
        "Search",
        "Shot",
        "Signed",
        "Source",
        "SourceOptions",
        "SpadeError",
        "ThresholdChange",
        "Unpacked",
        "UsageError",
        "Verified",
        "View",
        "Views",
        "back_to",
        "build",
        "calibrate",
        "compact",
        "difference",
        "evaluate",
        "exclude",
        "export_model",
        "generations",
        "golden_parity",
        "include",
        "new_key",
        "open_dataset",
        "open_source",
        "pack",
        "parity",
        "prepare",
        "prune",
        "set_threshold",
        "take_out",
        "teach_in",
        "sign",
        "undo",
        "unpack",
        "verify",
        "verify_signature",
    ],
    "spade_edge.runtime": [
        "BundleError",
        "DataError",
        "DeviceError",
        "Drift",
        "DriftChange",
        "DriftOptions",
        "DriftWatch",
        "FollowingScorer",
        "FrameError",
        "FrameResult",
        "Match",
        "ModelError",
        "Pose",
        "Provider",
        "Region",
        "Scorer",
        "SpadeError",
        "UsageError",
    ],
    "spade_edge.galleries": [
        "BuildOptions",
        "Built",
        "Calibration",
        "Difference",
        "GalleryChange",
        "Generation",
        "Packed",
        "Plan",
        "Prospect",
        "Pruned",
        "ThresholdChange",
        "Unpacked",
        "Views",
        "back_to",
        "build",
        "calibrate",
        "compact",
        "difference",
        "exclude",
        "generations",
        "include",
        "pack",
        "prune",
        "set_threshold",
        "take_out",
        "teach_in",
        "undo",
        "unpack",
    ],
    "spade_edge.export": [
        "BACKBONES",
        "Backbone",
        "ExportReport",
        "Precision",
        "TorchPyramid",
        "build_pyramid",
        "export_model",
        "export_pyramid",
        "own_view",
    ],
}
NAMES = [(package, name) for package, names in PUBLIC.items() for name in names]


def methods(value: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself, and __call__."""
    for name, member in vars(value).items():
        made_here = isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member)
        if made_here and (not name.startswith("_") or name == "__call__"):
            yield name


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_these(package: str) -> None:
    assert sorted(importlib.import_module(package).__all__) == sorted(PUBLIC[package])


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_public_name_says_what_it_is(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return  # a constant says it by its name and its type
    text = value.__doc__ or ""
    assert text.strip(), f"{package}.{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{package}.{name} has only the docstring that dataclass made up"
    if inspect.isclass(value):
        bare = [method for method in methods(value) if not (getattr(value, method).__doc__ or "").strip()]
        assert bare == [], f"{package}.{name}: methods without a docstring"


@pytest.mark.parametrize("package", PUBLIC)
def test_the_package_docstring_is_a_quickstart_that_parses(package: str) -> None:
    text = importlib.import_module(package).__doc__ or ""
    tree = ast.parse(quickstart(text))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module in PUBLIC]
    assert imports, f"{package}: no indented example that imports public names"
    for node in imports:
        assert {name.name for name in node.names} <= set(PUBLIC[str(node.module)])
    if package != "spade_edge":
        assert package in {node.module for node in imports}
    assert len(tree.body) > len(imports), f"{package}: the example uses nothing of what it imports"


def quickstart(text: str) -> str:
    """The indented Python of a docstring; shell commands are left out."""
    indented = [line for line in inspect.cleandoc(text).splitlines() if line.startswith("    ") or not line.strip()]
    return textwrap.dedent("\n".join(line for line in indented if not re.match(r"\s+spade-edge ", line)))


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (importlib.resources.files(spade_edge) / "py.typed").is_file()


def test_the_installed_version_is_the_one_that_the_code_says() -> None:
    assert importlib.metadata.version("spade-edge") == spade_edge.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", spade_edge.__version__)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_onnxruntime_is_told_to_send_nothing(before: str | None, after: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    if before is not None:
        environment["ORT_DISABLE_TELEMETRY"] = before
    script = (
        "import os, sys, spade_edge.runtime; assert 'onnxruntime' not in sys.modules; "
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == after
