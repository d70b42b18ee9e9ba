"""The cache folder and its disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from machines import (
    found,
    industrial,
)


def test_disk_of_the_cache_folder(tmp_path: Path) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> int:
        asked.append(path)
        return free

    machine = replace(industrial(tmp_path), free=usage)
    free = 3 * 10**9
    one = found(machine)["memory cache folder"]
    assert one.state == "ok" and one.found.startswith(f"{tmp_path}/home/.cache/spade-edge, 3.0 GB")
    assert asked == [tmp_path / "home/.cache"]  # spade-edge's own is not there yet
    free = 10**9
    assert found(machine)["memory cache folder"].state == "note"
    elsewhere = replace(machine, environment={"XDG_CACHE_HOME": str(tmp_path / "disk")})
    assert f"{tmp_path}/disk/spade-edge" in found(elsewhere)["memory cache folder"].found
    relative = replace(machine, environment={"XDG_CACHE_HOME": "disk"})
    assert f"{tmp_path}/home/.cache" in found(relative)["memory cache folder"].found
    closed = replace(machine, opens=lambda path: False)
    assert "may not write" in found(closed)["memory cache folder"].found
