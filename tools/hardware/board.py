"""Identifies the board by its device tree: a Jetson, a Raspberry Pi, or neither."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spade_edge.tools.hardware.host import Host

# Tegra chip: names of the Jetsons that have it, and compute capability of its GPU.
CHIPS = {
    "tegra210": ("Nano, TX1", "5.3"),
    "tegra186": ("TX2", "6.2"),
    "tegra194": ("Xavier", "7.2"),
    "tegra234": ("Orin", "8.7"),
    "tegra264": ("Thor", "11.0"),
}


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        model: the maker's name for it; empty without a device tree, as on PCs.
        jetson: whether it is a Jetson.
        l4t: release and revision of Jetson Linux, e.g. (36, "4.3"); None if no file states it.
        raspberry: whether it is a Raspberry Pi.
        chip: "tegra234" or another of CHIPS; empty if it is not a Jetson, or a newer one.
    """

    model: str
    jetson: bool
    l4t: tuple[int, str] | None
    raspberry: bool
    chip: str

    @classmethod
    def of(cls, host: Host) -> Board:
        """Read the device tree."""
        model = host.label("proc/device-tree/model") or ""
        compatible = host.text("proc/device-tree/compatible", most=65536) or ""
        tegra = re.search(r"nvidia,(tegra[0-9]+)", compatible)
        release = re.match(
            r"# R([0-9]{1,3}) \(release\), REVISION: ([0-9.]{1,12})", host.text("etc/nv_tegra_release") or ""
        )
        return cls(
            model=model,
            jetson=tegra is not None or release is not None,
            l4t=None if release is None else (int(release.group(1)), release.group(2)),
            raspberry="raspberrypi," in compatible or model.startswith("Raspberry Pi"),
            chip=tegra.group(1) if tegra is not None and tegra.group(1) in CHIPS else "",
        )
