"""`spade-edge scaling`: every gallery is built and measured, and the plot is a picture of what was."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spade_edge.tools.benchmark.scaling import scaling
from spade_edge.tools.benchmark.scaling_plot import plot
from spade_edge.tools.cli.main import main


def test_each_size_is_built_and_measured(
    model: Path, good_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scaling"
    line = ["scaling", "--model", str(model), "--images", str(good_images), "--output", str(output)]
    assert main([*line, "--sizes", "30,12", "--count", "3", "--threads", "1", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [row["images"] for row in value["rows"]] == [12, 30]  # 30 are more than there are: some are varied
    assert value == json.loads((output / "scaling.json").read_text())
    assert all(row["ratio"] > 0 and row["build_over_network"] > 1 for row in value["rows"])
    assert sorted(path.name for path in output.iterdir()) == ["scaling.json", "scaling.svg"]
    ET.fromstring((output / "scaling.svg").read_text())  # noqa: S314  (our own)


def variants(folder: Path, count: int, model: Path) -> list[NDArray[np.uint8]]:
    """The images that a gallery of `count` is built from, (h, w, 3) uint8 each."""
    seen: list[NDArray[np.uint8]] = []

    def build(images: Path, bundle: Path) -> dict[str, Any]:
        seen.extend(np.load(path) for path in sorted(images.iterdir()))
        bundle.mkdir()
        return {"seconds": dict.fromkeys(("reading", "features", "place", "index", "checking", "network"), 1.0)}

    def measure(bundle: Path) -> dict[str, Any]:
        measured = {"ratio": 1.0, "frame": {"p50": 1.0}, "network": {"p50": 1.0}, "stages": {}}
        gallery = {"gallery_megabytes_an_image": 1.0}
        return {"measured": measured, "bundle": gallery, "memory": None, "open_seconds": 1.0, "machine": {}}

    list(scaling(folder, [count], model=model, scratch=folder.parent, build=build, measure=measure))
    assert len(seen) == count
    return seen


@pytest.mark.parametrize("colour", [False, True])
def test_variants_of_a_grey_image_are_grey_and_those_of_a_coloured_one_have_noise_in_every_channel(
    colour: bool, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    # Uniform, so that what a variant varies by is its noise; 90 x 70 pixels are resampled.
    for number, grey in enumerate((90, 120)):
        pixel = (grey - 40, grey, grey + 60) if colour else (grey, grey, grey)
        cv2.imwrite(str(folder / f"{number}.png"), np.full((70, 90, 3), pixel, np.uint8))
    seen = variants(folder, 10, model)
    originals, varied = seen[:2], seen[2:]
    assert all(np.ptp(image, axis=(0, 1)).max() == 0 for image in originals)
    for image in varied:
        noise = image.reshape(-1, 3) - image.reshape(-1, 3).mean(axis=0)
        assert noise.std(axis=0) == pytest.approx([2, 2, 2], rel=0.1)
        together = np.corrcoef(noise.T)[np.triu_indices(3, 1)]
        assert np.abs(together).max() < 0.1 if colour else (image == image[..., :1]).all()
    assert len({image.tobytes() for image in seen}) == 10


@pytest.mark.parametrize("sizes", ["1", "a", "5,,6", "-3"])
def test_sizes_that_cannot_be_are_refused(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["scaling", "--model", "m.onnx", "--images", "i", "--output", "o", f"--sizes={sizes}"])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_plot_has_a_point_for_each_size_and_line_and_higher_values_lie_higher() -> None:
    rows = [
        {"images": 25, "network_ms": 80.0, "frame_ms": 90.0},
        {"images": 50, "network_ms": 80.0, "frame_ms": 120.0},
    ]
    drawn = ET.fromstring(plot(rows))  # noqa: S314
    points = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(points) == 4
    network, frame = points[:2], points[2:]
    assert network[0][1] == network[1][1] > frame[0][1] > frame[1][1]
    assert network[0][0] == frame[0][0] < network[1][0] == frame[1][0]
