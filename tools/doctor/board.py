"""Which board this is, by its device tree: a Jetson, a Raspberry Pi, or none that is known by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from spade_edge.tools.doctor.host import Host

# Tegra chip: what the Jetsons with it are called, and its GPU's compute capability.
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
        model: its maker's name for it; empty where there is no device tree, as on PCs.
        jetson: whether it is one.
        l4t: release and revision of NVIDIA's Linux for it, e.g. (36, "4.3"); None where no file says it.
        raspberry: whether it is a Raspberry Pi.
        chip: "tegra234" or another of CHIPS; empty if it is no Jetson, or a newer one.
    """

    model: str
    jetson: bool
    l4t: tuple[int, str] | None
    raspberry: bool
    chip: str

    @classmethod
    def of(cls, host: Host) -> Board:
        """Look at the device tree."""
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
