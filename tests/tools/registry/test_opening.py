"""Addresses of registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.registry import open_registry
from spade_edge.tools.registry.objects import ObjectRegistry
from spade_edge.tools.registry.oci import OciRegistry


@pytest.mark.parametrize(
    "address", ["registry.plant:5000/spade", "localhost:5000", "oci:/registry.plant:5000/spade", "OCI:registry.plant"]
)
def test_a_bundle_is_not_published_in_a_folder_that_was_meant_as_a_server(address: str) -> None:
    with pytest.raises(UsageError, match=r"^expected a folder, or an address such as oci://.*; write oci:// before"):
        open_registry(address)


def test_folders_and_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("registry", "./localhost:5000", str(tmp_path / "plant:5000"), r"C:\plant", "D:5", "a:b"):
        assert isinstance(open_registry(address), ObjectRegistry), address
    assert isinstance(open_registry("oci://localhost:5000/spade"), OciRegistry)
    assert not list(tmp_path.iterdir())
