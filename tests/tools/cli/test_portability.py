"""The command line without what only POSIX systems have: fcntl, SIGHUP and posix_fallocate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from spade_edge.galleries import Built

HIDE = """
import os, signal, sys
sys.modules["fcntl"] = None
for module, names in ((signal, ("SIGHUP",)), (os, ("posix_fallocate", "posix_fadvise"))):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
from spade_edge.tools.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", HIDE, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_help(edge: Built) -> None:
    done = run("--help")
    assert done.returncode == 0 and "usage: spade-edge" in done.stdout and done.stderr == ""


def test_build_and_score_of_files(model: Path, good_images: Path, edge: Built, tmp_path: Path) -> None:
    bundle = tmp_path / "part.spade"
    done = run("build", "--model", model, "--images", good_images, "--output", bundle, "--place", "free", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threshold"] == edge.manifest.threshold.score
    done = run("score", "--bundle", bundle, good_images, "--heatmaps", tmp_path / "maps")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8 and all(line["verdict"] == "good" for line in lines)
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == 8
