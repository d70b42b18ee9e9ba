"""Quotas, cores and instruction sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from machines import (
    CPU,
    PC,
    Commands,
    computes,
    folder_of,
    found,
    host,
    industrial,
)

V1 = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("group", "limits", "cores", "state", "says"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 4, "note", "of 2 of 4"),
        ("0::/", {"cpu.max": "400000 100000"}, 4, "ok", "of 4"),
        ("0::/", {"cpu.max": "max 100000"}, 4, "ok", "none"),
        ("", dict(zip(V1, ("-1", "100000"), strict=True)), 4, "ok", "none"),
        ("", dict(zip(V1, ("50000", "100000"), strict=True)), 4, "note", "of 0.5 of 4"),
        ("2:cpu:/x", dict(zip(V1, ("50000", "100000"), strict=True)), 4, "note", "of 0.5 of 4"),
        ("0::/a/b/c", {"a/cpu.max": "300000 100000", "a/b/c/cpu.max": "900000 100000"}, 8, "note", "of 3 of 8"),
        ("0::/../../x", {"cpu.max": "100000 100000", "../../x/cpu.max": "1 100000"}, 2, "note", "of 1 of 2"),
        ("0::/a", {"b/cpu.max": "100000 100000"}, 2, "ok", "none"),
    ],
)
def test_quotas(group: str, limits: dict[str, str], cores: int, state: str, says: str, tmp_path: Path) -> None:
    files = {"proc/self/cgroup": group} | {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    one = found(host(tmp_path, files, Commands({}, computes(CPU)), cores=cores))["processor quota"]
    assert (one.state, says in one.found) == (state, True), one


def test_cores_that_may_not_be_used_and_flags_that_only_some_cores_have(tmp_path: Path) -> None:
    machine = industrial(tmp_path)
    one = found(replace(machine, cores=2))["processor cores"]
    assert one.state == "note" and "2 of 6" in one.found and one.remedy.startswith("--threads 2,")
    described = PC["proc/cpuinfo"].replace("avx2", "avx2 avx_vnni")
    folder_of(tmp_path, {"proc/cpuinfo": described})
    assert found(machine)["processor instructions"].found.startswith("SSE4.2, AVX, AVX2, AVX-VNNI: ")
    folder_of(tmp_path, {"proc/cpuinfo": described.replace("avx2 avx_vnni", "avx2", 1)})
    assert found(machine)["processor instructions"].state == "note"
