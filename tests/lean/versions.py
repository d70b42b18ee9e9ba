"""The tests that need no torch, on other Pythons: `make versions`.

oldest    Python 3.10 with the lowest versions that pyproject.toml allows of every dependency but torch's
newest    Python 3.13 with the versions of constraints.txt

Each environment holds the package with the extras cpu, galleries, camera, sign and those of lines and fleets, and what
the tests need; the oldest has no OPC UA and no S3 server, and none has a browser or Ray. A Python that this machine
does not have is named and left out. The lower bounds of torch, torchvision and onnx are not tried: they take several
gigabytes.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environments import CONSTRAINTS, ENVIRONMENT, ROOT, find_python
from packaging.requirements import Requirement

EXTRAS = ("cpu", "galleries", "camera", "sign", "run", "mqtt", "modbus", "gpio", "page", "remote", "registry")
NEWEST = ("opcua",)  # it asks for a later cryptography than the lowest that signing works with
TESTS = ("tests/runtime", "tests/galleries", "tests/tools", "tests/packaging/test_floor_plan.py")
NEEDS_TORCH = ("tests/tools/cli/commands/test_parity.py",)  # others leave out what needs it by themselves
NEWEST_FOR_TESTS = ("moto[server]",)  # beside the lowest s3fs, pip looks for minutes for a botocore that fits both
FOR_TESTS = ("pytest", "pytest-xdist", "scipy", "scikit-learn", "onnx", "jsonschema", "ruff", "packaging")


def main() -> None:
    """Run both environments; ends with an error where one of them fails."""
    started, missing, ran = time.monotonic(), [], 0
    with tempfile.TemporaryDirectory(prefix="spade-edge-versions-") as temporary:
        for label, version in (("oldest", "3.10"), ("newest", "3.13")):
            python = find_python(version)
            if python is None:
                missing.append(version)
                print(f"versions: expected python{version} for the {label} versions, found none: left out", flush=True)
                continue
            try_version(Path(temporary, label), python, oldest=label == "oldest")
            ran += 1
    print(f"versions: {ran} environments passed, {len(missing)} left out, {time.monotonic() - started:.0f} s")


def try_version(folder: Path, python: str, *, oldest: bool) -> None:
    """Make an environment, install, and run the tests in it."""
    print(f"versions: {folder.name}: making the environment", flush=True)
    run([python, "-m", "venv", folder])
    own = folder / "bin" / "python"
    pins = lowest() if oldest else []
    constraints = folder / "constraints.txt"
    lines = [] if oldest else CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    constraints.write_text("\n".join((*lines, *pins)) + "\n", encoding="utf-8")
    extras = EXTRAS if oldest else (*EXTRAS, *NEWEST)
    for_tests = FOR_TESTS if oldest else (*FOR_TESTS, *NEWEST_FOR_TESTS)
    package = f"{ROOT}[{','.join(extras)}]"
    run([own, "-m", "pip", "install", "--quiet", "--constraint", constraints, "--editable", package, *for_tests])
    run(
        [
            own,
            "-m",
            "pytest",
            "-q",
            "--numprocesses",
            "2",
            "--dist",
            "loadfile",
            "-m",
            "not slow",
            *TESTS,
            *(f"--ignore={test}" for test in NEEDS_TORCH),
        ]
    )


def lowest() -> list[str]:
    """`name==bound.*` for every lower bound of the base package and of `EXTRAS`."""
    pins = set()
    for requirement in map(Requirement, importlib.metadata.requires("spade-edge") or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in EXTRAS):
            pins |= {f"{requirement.name}=={s.version}.*" for s in requirement.specifier if s.operator == ">="}
    return sorted(pins)


def run(command: list[str | Path]) -> None:
    """Run a command in the repository; ends this program where it fails."""
    ended = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        sys.exit(f"versions: {' '.join(map(str, command))}: ended with {ended.returncode}")


if __name__ == "__main__":
    main()
