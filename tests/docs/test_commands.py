"""Every command and every program in the documents runs as it stands there, on small images."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from documents import DOCS, PAGES, blocks, prose
from numpy.typing import NDArray

from spade_edge.tools.cli.main import parser

CAMERA, GPU, DEVICE = "needs a camera, a stream or a folder that goes on", "needs a GPU", "installs on a device"
# First lines of the blocks that do not run here, and why.
NOT_RUN = {
    "docs/tutorial.md": {
        "pip install '.[workstation,cpu]'": "installs packages; make demo does so in CI",
        "spade-edge score --bundle part.spade --self-test --reopen forever /dev/video0": CAMERA,
    },
    "docs/line.md": {
        "pip install 'spade-edge[cpu,line]'": "needs a line; tests/tools/cli/commands/test_run.py runs these commands",
    },
    "docs/architecture.md": {
        "$ python3 -m venv /tmp/graph && /tmp/graph/bin/pip install grimp": "installs a package that is no dependency",
    },
    "docs/how-to/backbones.md": {
        "python -c \"import timm, torch; name = 'vit_small_patch14_reg4_dinov2.lvd142m'; "
        "torch.save(timm.create_model(name, pretrained=True).state_dict(), name + '.pth')\"": "needs internet",
        "spade-edge export --backbone timm:vit_small_patch14_reg4_dinov2.lvd142m "
        "--weights vit_small_patch14_reg4_dinov2.lvd142m.pth --input 224 --output dinov2.onnx": (
            "needs these weights; tests/export/test_timm.py does it with random ones"
        ),
    },
    "docs/how-to/devices.md": {
        "sudo apt install python3-venv python3-opencv": DEVICE,
        "sudo apt install python3-venv": DEVICE,
        "pip download --dest wheels --only-binary=:all: --implementation cp --python-version 3.11 \\": "needs internet",
        "python3 -m venv /opt/spade-edge": DEVICE,
        "make dist && podman build --file docs/Containerfile --tag spade-edge .": "needs podman and internet",
        "sudo nvpmodel -q": DEVICE,
    },
    "docs/how-to/fleet-build.md": {
        "spade-edge fleet build fleet.toml --executor ray --ray-address 10.0.0.5:6379": (
            "needs a cluster; tests/tools/fleet/building/test_ray_cluster.py has one"
        ),
    },
    "docs/how-to/fleet-status.md": {
        "spade-edge fleet status /mnt/plant/reports": (
            "needs devices; tests/tools/fleet/status/ runs these commands on their reports"
        ),
    },
    "docs/how-to/providers.md": {
        "spade-edge score --bundle part.spade --provider cuda new_parts/": GPU,
        "spade-edge prepare --bundle part.spade --provider tensorrt": GPU,
    },
    "docs/how-to/remote-images.md": {
        "spade-edge build --model model.onnx --images s3://plant/bolts --output part.spade": (
            "needs an object store; tests/tools/datasets/test_commands.py runs these commands with one"
        ),
    },
    "docs/how-to/rollout.md": {
        "spade-edge fleet pull bolt:production --bundle part.spade --config line.toml --report report.json "
        "--watch 60": ("goes on until Ctrl-C; tests/tools/cli/commands/test_fleet_registry.py watches a channel"),
    },
    "docs/how-to/signing.md": {
        "(echo 'spade-edge/bundle/1'; cat part.spade/manifest.json) > signed": (
            "needs openssl; tests/tools/signing/test_keys.py uses it where it is there"
        ),
    },
    "docs/how-to/sources.md": {
        "spade-edge score --bundle part.spade watch:/srv/camera1": CAMERA,
        "export GENICAM_GENTL64_PATH=$(python -c 'import genicam, os; print(os.path.dirname(genicam.__file__))')": (
            "goes on until Ctrl-C; tests/tools/sources/cameras/test_genicam.py runs these cameras"
        ),
    },
    "docs/line/evidence.md": {
        "spade-edge evidence list --config line.toml --shift 06:00-14:00": (
            "needs a line that has run; tests/tools/cli/commands/test_evidence.py has its evidence"
        ),
    },
    "docs/line/messages.md": {
        "mosquitto_sub -V mqttv5 -h localhost -v -t 'spade-edge/line-3/#'": (
            "needs a broker; tests/tools/line/outputs/test_mqtt.py has one"
        ),
    },
    "docs/line/page.md": {
        "ssh -N -L 8080:127.0.0.1:8080 user@line-3": "needs another machine",
    },
    "docs/measurements.md": {
        "spade-edge scaling --model model.onnx --images good_parts/ --output scaling/": (
            "takes an hour; tests/tools/benchmark/test_scaling.py runs it small"
        ),
        "python tests/quality/large.py --model model.onnx --scratch large/": "takes an hour, and 40 GB of disk",
    },
}

# The command with a small network as the default: with Wide-ResNet50-2 all of this takes five minutes.
SMALL = """#!/bin/sh
verb=$1; shift
if [ "$verb" = export ]; then set -- --backbone resnet18 "$@"; fi
exec '{command}' "$verb" "$@"
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, part: Callable[..., NDArray[np.uint8]]) -> Path:
    """A folder with images as the documents name them, and torch's cache as after the download, with random weights."""
    folder = tmp_path_factory.mktemp("workplace")
    images = {f"good_parts/{seed}.png": part(seed) for seed in range(12)}
    images |= {"new_parts/0.png": part(0), "new_parts/1.png": part(1, flaw=True), "new_parts/2.ppm": part(2)}
    images |= {f"dataset/good/{seed}.png": part(seed) for seed in (12, 13)}
    images |= {"dataset/spot/14.png": part(14, flaw=True)}
    images |= {f"held_back/{seed}.png": part(seed) for seed in range(20, 26)}
    images |= {"rejects/shiny.png": part(30), "reject.png": part(31)}
    days = {"monday": range(40, 42), "wednesday": range(44, 48), "half_an_hour": range(50, 54), "friday": range(54, 56)}
    images |= {f"{day}/{seed}.png": part(seed) for day, seeds in days.items() for seed in seeds}
    images |= {"wednesday/48.png": part(48, flaw=True), "rejects/049.png": part(49)}
    images |= {"mask.png": np.full((96, 80), 255, np.uint8)}
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), image)
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), cache / Path(url).name)
    (folder / "bin").mkdir()
    command = folder / "bin" / "spade-edge"
    command.write_text(SMALL.format(command=Path(sys.executable).with_name("spade-edge")), encoding="utf-8")
    command.chmod(0o755)
    return folder


@pytest.mark.slow
def test_the_commands_and_programs_run_as_written(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(workplace / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
    monkeypatch.setenv("PATH", str(workplace / "bin"), prepend=":")
    monkeypatch.chdir(workplace)
    done = set()
    for page in PAGES:
        for command in (line for block in blocks("sh") if block.page == page for line in block.commands):
            if command not in done:  # what an earlier page has left is there
                run(command)
                done.add(command)
        for block in blocks("python"):
            if block.page == page:
                exec(block.text, {"frame": cv2.imread("new_parts/1.png")})  # noqa: S102  (our own documents)
    assert {path.name for path in Path("overlays").iterdir()} == {"0.png", "1.png", "2.png"}
    assert Path("report/report.html").exists()
    week = json.loads(Path("week.spade/manifest.json").read_text(encoding="utf-8"))
    assert week["threshold"]["parts"] == 16 and len(week["images"]) == 17  # a reject that was taught in is no evidence
    assert len(Path("friday.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def run(command: str) -> None:
    """Run a command; one that scores may find defects."""
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = (0, 1) if "spade-edge score" in command else (0,)
    assert ended.returncode in allowed, f"{command}\n{ended.stderr}"
    if "spade-edge score" in command and ">" not in command:
        assert len(ended.stdout.splitlines()) >= 1


def test_the_tutorial_and_the_readme_run_what_they_teach() -> None:
    verbs = {block.commands[i].split()[1] for block in blocks("sh") for i in range(len(block.commands))}
    taught = "export build score threshold evaluate bench parity doctor lint gallery calibrate pack unpack sign verify"
    assert set(taught.split()) <= verbs
    readme = [line.split()[1] for block in blocks("sh") if block.page == "README.md" for line in block.commands]
    assert readme == ["export", "build", "score"]
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    found: dict[str, set[str]] = {}
    for block in blocks("console"):
        first = next(line for line in block.text.splitlines() if not line.startswith("#"))
        found.setdefault(block.page, set()).add(re.sub(r"\s{2,}#.*", "", first))
    assert found == {page: set(reasons) for page, reasons in NOT_RUN.items()}


def test_no_document_installs_two_builds_of_onnxruntime() -> None:
    """They overwrite each other, and pip does not refuse it: each command names one, or none on a Jetson."""
    told = " ".join(re.sub(r"\s+", " ", text) for text in PAGES.values())
    asked = [set(names.split(",")) for names in re.findall(r"(?:whl|\.|spade-edge)\[([a-z,]+)\]", told)]
    assert {"workstation", "cpu"} in asked and {"workstation", "gpu"} in asked and len(asked) > 8
    for names in asked:
        assert len(names & {"cpu", "gpu", "all"}) <= 1, names
        assert "workstation" not in names or names & {"cpu", "gpu"}, names


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices)


def mentioned() -> list[list[str]]:
    """Every `spade-edge …` of the documents, in blocks, in the text, and in the Containerfile."""
    code = [line for block in blocks("console") for line in block.commands]
    code += [line for text in PAGES.values() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]
    container = re.sub(r"\\\n#?\s*", "", (DOCS / "Containerfile").read_text(encoding="utf-8"))
    code += [line for line in container.splitlines() if "spade-edge score" in line]
    found = [match[1] for line in code if (match := re.search(r"(?:^|[ /])spade-edge ([a-z][^`]*)$", line))]
    for page in PAGES:
        found += re.findall(r"`spade-edge ([a-z][^`]*)`", re.sub(r"\s+", " ", prose(page)))
    return [words for words in (shlex.split(line, comments=True) for line in found) if words[0] != "--version"]


@pytest.mark.parametrize("line", [pytest.param(line, id=" ".join(line)) for line in mentioned()])
def test_every_command_and_option_exists(line: list[str]) -> None:
    verb, *words = line
    if verb == "migrate":  # the compatibility page says that it does not exist yet
        return
    assert verb in subcommands()
    command = subcommands()[verb]
    for nested in (action for action in command._actions if isinstance(action, argparse._SubParsersAction)):
        assert words[0] in nested.choices
        command = nested.choices[words[0]]
    options = command._option_string_actions
    assert [word for word in words if word.startswith("--") and word not in options] == []
    for option, value in pairwise(words):
        choices = options[option].choices if option in options else None
        assert choices is None or value in choices
