"""The README's commands and code run as they stand there, and what it says of the project is so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, part: Callable[..., NDArray[np.uint8]]) -> Path:
    """A folder with good and new parts, and torch's cache as it is after the download, with random weights."""
    folder = tmp_path_factory.mktemp("workplace")
    for name, flaws in (("good_parts", [False] * 4), ("new_parts", [False, True])):
        (folder / name).mkdir()
        for seed, flaw in enumerate(flaws):
            cv2.imwrite(str(folder / name / f"{seed}.png"), part(seed, flaw=flaw))
    url = torchvision.models.Wide_ResNet50_2_Weights.IMAGENET1K_V1.url
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.wide_resnet50_2(weights=None).state_dict(), cache / Path(url).name)
    return folder


def test_the_commands_and_the_code_run_as_written(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(workplace / "torch"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert [line.split()[:2] for line in commands] == [
        ["spade-edge", verb] for verb in ("export", "build", "score", "bench", "threshold", "export", "build", "parity")
    ]
    for line in commands:
        done = subprocess.run(line.split(), cwd=workplace, capture_output=True, text=True, check=False)
        assert done.returncode == (1 if "score" in line else 0), done.stderr
        if "score" in line:
            assert len(done.stdout.splitlines()) == 2
    assert sorted(path.name for path in (workplace / "overlays").iterdir()) == ["0.png", "1.png"]

    (code,) = blocks("python")
    monkeypatch.chdir(workplace)
    names = {"frame": cv2.imread("new_parts/1.png")}
    exec(code, names)  # noqa: S102  (our own README)
    assert names["result"].verdict == "defect"  # type: ignore[union-attr]


def test_every_link_leads_somewhere() -> None:
    for page in (README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))):
        base = ROOT if page is README else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert target.startswith("https://") or (base / target).exists(), target


def test_the_architecture_page_names_every_file_and_field_of_a_bundle() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    from spade_edge.runtime.bundle import manifest, threshold
    from spade_edge.runtime.matching import config
    from spade_edge.runtime.network import card
    from spade_edge.runtime.preprocessing import condition

    fields = [
        *manifest.Manifest.__dataclass_fields__,
        *threshold.Threshold.__dataclass_fields__,
        *condition.Limits.__dataclass_fields__,
        *config.Matching.__dataclass_fields__,
        *card.ModelCard.__dataclass_fields__,
    ]
    assert [name for name in fields if f"`{name}`" not in page] == []
