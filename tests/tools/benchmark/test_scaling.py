"""`spade-edge scaling`: every gallery is built and measured, and the plot is a picture of what was."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

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
