"""What a bundle depends on: images by their dataset, the time that it gets, and files that options name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_tasks import Here

from spade_edge.galleries import BuildOptions, Views
from spade_edge.runtime import DataError
from spade_edge.runtime.bundle.manifest import Manifest
from spade_edge.tools.datasets import Entry, scan, write_dataset
from spade_edge.tools.fleet.building import build_fleet
from spade_edge.tools.fleet.plan import BundlePlan, FleetPlan
from spade_edge.tools.fleet.work import Preparation, newest


def entry(time: str) -> Entry:
    return Entry("a.png", "/x/a.png", "0" * 64, 1, time=time)


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ((), None),
        (("", ""), None),
        (("2026-01-01T00:00:00+00:00", "", "2025-01-01T00:00:00+00:00"), "2026-01-01T00:00:00+00:00"),
        (("2026-01-01T00:30:00+01:00", "2026-01-01T00:00:00+00:00"), "2026-01-01T00:00:00+00:00"),
        (("2026-01-01T00:00:00Z",), "2026-01-01T00:00:00+00:00"),
        (("2026-01-01T00:00:00.750",), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_the_time_of_a_bundle_is_that_of_its_newest_image(times: tuple[str, ...], wanted: str | None) -> None:
    assert newest([entry(time) for time in times]) == wanted


def test_a_time_that_is_none() -> None:
    with pytest.raises(DataError, match=r"/x/a\.png: expected a time such as .*, found 'soon'; scan the images again"):
        newest([entry("soon")])


def test_a_time_at_the_beginning_of_time() -> None:
    with pytest.raises(DataError, match="expected a time such as"):
        newest([entry("0001-01-01T00:00:00+05:00")])


def test_labels_and_groups_of_a_dataset(
    tmp_path: Path, images: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = scan(str(images))
    labelled = [
        replace(one, label="scratch" if one.name == "4.npy" else "good", group="a" if one.name < "2" else "")
        for one in entries
    ]
    dataset = tmp_path / "bolts.jsonl"
    write_dataset(dataset, labelled)
    plan = FleetPlan(
        (BundlePlan("bolt", str(dataset), str(model), BuildOptions(place="free")),),
        tmp_path / "out",
        str(tmp_path / "c"),
    )
    (row,) = build_fleet(plan, Here)
    assert row.state == "built"
    assert [record.getMessage() for record in caplog.records if "label" in record.getMessage()] == [
        "bolt: 1 of 6 images are left out, because their label is neither empty nor good"
    ]
    manifest = Manifest.read(row.path)
    assert manifest.names == ("0.npy", "1.npy", "2.npy", "3.npy", "5.npy")
    assert [image.group for image in manifest.images] == [0, 0, 1, 2, 3]


def test_files_of_options_travel_with_the_work(tmp_path: Path, images: Path, planned: Callable[..., FleetPlan]) -> None:
    import cv2
    import numpy as np

    mask, table = tmp_path / "mask.png", tmp_path / "parts.csv"
    cv2.imwrite(str(mask), np.pad(np.full((60, 60), 255, np.uint8), ((20, 16), (10, 10))))
    table.write_text("name,group\n" + "".join(f"{number}.npy,{number // 2}\n" for number in range(6)))
    options = BuildOptions(place="free", views=Views(mask=mask), groups=str(table), rate=0.3)
    plan = planned(bolt=options)

    class Elsewhere(Here):
        """A worker that does not have the files where they were."""

        def outcomes(self, tasks):  # type: ignore[no-untyped-def]
            taken = list(tasks)
            mask.rename(tmp_path / "moved.png")
            table.rename(tmp_path / "moved.csv")
            yield from super().outcomes(taken)

    (row,) = build_fleet(plan, Elsewhere)
    assert row.state == "built", row.message
    manifest = Manifest.read(row.path)
    assert manifest.layout.masked and [image.group for image in manifest.images] == [0, 0, 1, 1, 2, 2]
    (gone,) = build_fleet(plan, Here)
    assert gone.state == "failed" and gone.message == (
        f"{mask}: expected the file of the mask, found: No such file or directory"
    )
    (tmp_path / "moved.png").rename(mask)
    (tmp_path / "moved.csv").rename(table)
    key = Preparation(tmp_path, lambda items, label: items).work(plan.bundles[0]).key
    assert key == row.key
    table.write_text(table.read_text().replace("5.npy,2", "5.npy,7"))
    assert Preparation(tmp_path, lambda items, label: items).work(plan.bundles[0]).key != key
