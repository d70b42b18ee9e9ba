"""What a fleet build says of the good images: nobody looks at a build of the night, so it names what `build` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from fleet_tasks import Here

from spade_edge.galleries import BuildOptions, build
from spade_edge.tools.cli.text.build import notes
from spade_edge.tools.cli.text.fleet_build import line
from spade_edge.tools.fleet.building import build_fleet
from spade_edge.tools.fleet.plan import FleetPlan

BOLT = BuildOptions(place="free")
GOOD = 20


def test_a_defect_among_the_good_images_is_named_as_build_names_it(
    planned: Callable[..., FleetPlan], images: Path, model: Path, tmp_path: Path
) -> None:
    parts = [np.load(path) for path in sorted(images.iterdir())]
    for number in range(len(parts), GOOD):
        np.save(images / f"{number}.npy", parts[number % len(parts)] // 16 * 16 + number % 5)
    spoiled = parts[0].copy()
    spoiled[10:40, 10:40] = 255 - spoiled[10:40, 10:40]
    np.save(images / "stained.npy", spoiled)

    (row,) = build_fleet(planned(bolt=BOLT), Here)
    alone = build(images, model=model, output=tmp_path / "alone.spade", options=BOLT)
    said = [note for note in notes(alone) if note.startswith(("look at", "this threshold"))]
    assert len(said) == 2 and "stained.npy" in said[0]
    assert set(said) <= set(row.facts["remarks"]) and "stained.npy" in row.facts["untypical"]

    # Nobody at another workstation has seen this build.
    (again,) = build_fleet(planned(output="elsewhere", bolt=BOLT), Here)
    assert again.state == "from the cache" and all(f"bolt: {sentence}" in line(again).splitlines() for sentence in said)
