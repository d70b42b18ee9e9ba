"""Python and packages: what is installed, whether it is new enough, and whether two packages share one folder.

Nothing heavy is imported: versions and bounds come from the metadata of the distributions.
"""

from __future__ import annotations

import importlib.util
import operator
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from spade_edge import __version__
from spade_edge.tools.doctor.finding import NOTE, OK, PROBLEM, Finding

KIND = "packages"
OWN = "spade-edge"

# Distributions that share one folder: the one installed last has overwritten the files of the others.
ONNXRUNTIME = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
SAME = {"onnxruntime": ONNXRUNTIME, "onnxruntime-gpu": ONNXRUNTIME, "opencv-python-headless": OPENCV}
MODULES = {"onnxruntime": "onnxruntime", "onnxruntime-gpu": "onnxruntime", "opencv-python-headless": "cv2"}

EXTRAS = {
    "camera": "image files, videos and cameras",
    "galleries": "'spade-edge build', 'threshold' and 'scaling'",
    "sign": "signatures of bundles",
    "export": "'spade-edge export'",
    "timm": "'spade-edge export --backbone timm:NAME'",
    "genicam": "GenICam cameras",
    "demo": "'spade-edge demo'",
}

_COMPARE = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Requirement:
    """A package that spade-edge requires, according to its metadata.

    Attributes:
        name: of the distribution.
        bounds: e.g. ">=1.17".
        extra: the extra that requires it; empty for what is always required.
    """

    name: str
    bounds: str
    extra: str

    @classmethod
    def parse(cls, text: str) -> Requirement | None:
        """Read e.g. "onnxruntime>=1.17; extra == 'cpu'"; None for anything else."""
        match = re.fullmatch(r"\s*([\w.-]+)\s*(?:\[[^]]*\])?\s*\(?([^;()]*)\)?\s*(?:;(.*))?", text)
        if match is None:
            return None
        extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", match.group(3) or "")
        return cls(canonical(match.group(1)), match.group(2).replace(" ", ""), extra.group(1) if extra else "")


@dataclass(frozen=True)
class Packages:
    """The packages of this Python.

    Attributes:
        versions: of the installed distributions, by canonical name.
        requirements: of spade-edge; empty if it is not installed, as in a source folder.
        python: the Python versions that it requires, e.g. ">=3.10".
        modules: those of MODULES that can be imported; a system's OpenCV has no distribution metadata.
    """

    versions: Mapping[str, str]
    requirements: Sequence[Requirement]
    python: str = ""
    modules: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def here(cls) -> Packages:
        """The packages of this Python, determined without importing them."""
        versions: dict[str, str] = {}
        for distribution in metadata.distributions():
            try:
                name, version = distribution.metadata["Name"], distribution.version
            except Exception:  # noqa: S112  (half-removed packages leave incomplete metadata)
                continue
            if isinstance(name, str) and isinstance(version, str):
                versions.setdefault(canonical(name), version)  # the first on the path is the one that is imported
        try:
            wanted = [Requirement.parse(text) for text in metadata.requires(OWN) or ()]
            python = metadata.metadata(OWN)["Requires-Python"] or ""
        except Exception:
            wanted, python = [], ""
        return cls(
            versions=versions,
            requirements=tuple(one for one in wanted if one is not None and one.name != OWN),
            python=python,
            modules=frozenset(name for name in MODULES.values() if _importable(name)),
        )

    def like(self, name: str) -> dict[str, str]:
        """Installed distributions, with versions, that provide the same module as the one named."""
        return {other: self.versions[other] for other in SAME.get(name, (name,)) if other in self.versions}


def findings(packages: Packages) -> list[Finding]:
    """Python, spade-edge, its requirements, onnxruntime, and a row for each extra."""
    always = [one for one in packages.requirements if not one.extra]
    return [
        _python(packages),
        _own(packages),
        *(_needed(packages, one) for one in always),
        _onnxruntime(packages),
        *(_extra(packages, extra) for extra in EXTRAS if any(one.extra == extra for one in packages.requirements)),
        *_several(packages, "opencv", OPENCV),
    ]


def missing_of(packages: Packages, extra: str) -> list[str]:
    """The packages of an extra that are not installed, or too old."""
    return [
        one.name
        for one in packages.requirements
        if one.extra == extra
        and MODULES.get(one.name) not in packages.modules
        and not any(fits(version, one.bounds) for version in packages.like(one.name).values())
    ]


def canonical(name: str) -> str:
    """The normalized name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fits(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as ">=1.4.3,<2"; a version that cannot be compared does."""
    have = _release(version)
    for bound in bounds.split(","):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)v?([0-9].*)", bound.strip())
        if match is not None and have and not _COMPARE[match.group(1)](have, _release(match.group(2))):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version without trailing zeros: (2, 5) for "2.5.0a0+nv24.8"."""
    match = re.match(r"v?((?:[0-9]{1,9}\.)*[0-9]{1,9})", version)
    numbers = [int(number) for number in match.group(1).split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers) or ((0,) if match else ())


def _python(packages: Packages) -> Finding:
    version = platform.python_version()
    if not fits(version, packages.python):
        return Finding(KIND, "python", PROBLEM, f"{version}, but {packages.python} is needed", "install a newer Python")
    return Finding(KIND, "python", OK, version)


def _own(packages: Packages) -> Finding:
    recorded = packages.versions.get(OWN)
    if recorded is None or not packages.requirements:
        found = f"{__version__}, from a folder that is not installed: its requirements are not known"
        return Finding(KIND, OWN, NOTE, found, "pip install the wheel or the folder")
    if recorded != __version__:
        found = f"{__version__} is running, but pip has a record of {recorded}"
        return Finding(KIND, OWN, NOTE, found, "reinstall it, or check PYTHONPATH")
    return Finding(KIND, OWN, OK, __version__)


def _needed(packages: Packages, one: Requirement) -> Finding:
    version = packages.versions.get(one.name)
    if version is None:
        return Finding(KIND, one.name, PROBLEM, "not installed", f"pip install '{one.name}{one.bounds}'")
    if not fits(version, one.bounds):
        return Finding(
            KIND, one.name, PROBLEM, f"{version}, but {one.bounds} is needed", f"pip install '{one.name}{one.bounds}'"
        )
    return Finding(KIND, one.name, OK, version)


def _onnxruntime(packages: Packages) -> Finding:
    name, installed = "onnxruntime", packages.like("onnxruntime")
    if len(installed) > 1:
        return Finding(
            KIND,
            name,
            PROBLEM,
            f"{_listed(installed)}: they share one folder, and the one installed last has overwritten the other",
            f"pip uninstall {' '.join(installed)}, then install the one you want: "
            "'spade-edge[cpu]', 'spade-edge[gpu]' or, on a Jetson, NVIDIA's wheel",
        )
    bounds = {one.name: one.bounds for one in packages.requirements if one.name in ONNXRUNTIME}
    for distribution, version in installed.items():
        wanted = bounds.get(distribution, bounds.get(name, ""))
        if not fits(version, wanted):
            return Finding(
                KIND,
                name,
                PROBLEM,
                f"{distribution} {version}, but {wanted} is needed",
                f"pip install --upgrade '{distribution}{wanted}'; on a Jetson, NVIDIA's wheel",
            )
        return Finding(KIND, name, OK, f"{distribution} {version}")
    if name in packages.modules:
        return Finding(KIND, name, OK, "present, without pip metadata")
    return Finding(
        KIND,
        name,
        PROBLEM,
        "not installed: no frame can be scored",
        "pip install 'spade-edge[cpu]', or 'spade-edge[gpu]' for x86-64 with an NVIDIA GPU; "
        "on a Jetson, NVIDIA's onnxruntime-gpu wheel",
    )


def _extra(packages: Packages, extra: str) -> Finding:
    """The packages of one extra. A missing extra is not a problem, because a device needs none."""
    there, missing, old = [], [], []
    for one in packages.requirements:
        if one.extra != extra:
            continue
        installed = packages.like(one.name)
        for distribution, version in installed.items():
            there.append(f"{distribution} {version}")
            if not fits(version, one.bounds):
                old.append(f"{distribution} {version}, but {one.bounds} is needed")
        if not installed:
            if MODULES.get(one.name) in packages.modules:
                there.append(f"{MODULES[one.name]} without pip metadata")
            else:
                missing.append(one.name)
    if old:
        return Finding(KIND, extra, PROBLEM, "; ".join(old), f"pip install --upgrade 'spade-edge[{extra}]'")
    if missing and not there:
        return Finding(KIND, extra, OK, f"not installed; [{extra}] is for {EXTRAS[extra]}")
    if missing:
        there.append(f"not installed: {', '.join(missing)}; [{extra}] is for {EXTRAS[extra]}")
    return Finding(KIND, extra, OK, ", ".join(there))


def _several(packages: Packages, name: str, same: Sequence[str]) -> list[Finding]:
    installed = {one: packages.versions[one] for one in same if one in packages.versions}
    if len(installed) < 2:
        return []
    return [
        Finding(
            KIND,
            name,
            NOTE,
            f"{_listed(installed)}: they share one folder, and the one installed last has overwritten the other",
            f"pip uninstall {' '.join(installed)}, then install one of them",
        )
    ]


def _listed(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
