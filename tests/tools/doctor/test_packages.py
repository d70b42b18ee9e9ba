"""What the doctor says of packages: bounds as `packaging` understands them, and rows for what is or is not there."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement as Oracle
from packaging.specifiers import SpecifierSet

import spade_edge
from spade_edge.tools.doctor import packages
from spade_edge.tools.doctor.packages import Packages, Requirement, canonical, findings, fits

VERSIONS = ("0.9", "1", "1.0", "1.2", "1.4.3", "1.4.10", "1.17.0", "1.26", "2.0.0", "2.6.1", "10.0", "2025.1")
BOUNDS = (">=1.17", "<2,>=1.4.3", "==1.4.3", "!=2.0", ">1.2,<=2.6.1", ">=1.0", "<1", "", ">=2")


@pytest.mark.parametrize("bounds", BOUNDS)
def test_bounds_mean_what_packaging_means(bounds: str) -> None:
    oracle = SpecifierSet(bounds)
    assert [version for version in VERSIONS if fits(version, bounds)] == list(oracle.filter(VERSIONS))


def test_versions_that_no_index_has_are_compared_by_their_numbers() -> None:
    # NVIDIA's builds for Jetson, local versions, something else entirely.
    assert fits("2.6.0a0+872d972e41.nv24.08", ">=2.6") and not fits("2.5.0a0+872d972e41.nv24.08", ">=2.6")
    assert fits("4.10.0-dirty", ">=4.8") and not fits("4.5.4-8-g3e4c170df4", ">=4.8")
    assert fits("unknown", ">=1") and fits("", ">=1") and fits("9" * 5000, ">=1")


def test_our_own_requirements_are_read_as_packaging_reads_them() -> None:
    texts = metadata.requires("spade-edge") or []
    assert len(texts) > 10
    for text in texts:
        oracle, ours = Oracle(text), Requirement.parse(text)
        assert ours is not None
        assert ours.name == canonical(oracle.name)
        assert SpecifierSet(ours.bounds) == oracle.specifier
        assert (not ours.extra) == (oracle.marker is None) and f'"{ours.extra}"' in f'{oracle.marker} ""'


@pytest.mark.parametrize("text", ["", ";", ">=3", "a b c", "name>=1; (", "name @ https://example.org/x.whl", "\0"])
def test_requirements_that_are_none(text: str) -> None:
    parsed = Requirement.parse(text)
    assert parsed is None or parsed.name


def test_this_python() -> None:
    pytest.importorskip("torch")
    here = Packages.here()
    assert here.versions["spade-edge"] == spade_edge.__version__ and here.python == ">=3.10"
    assert here.versions["numpy"] == metadata.version("numpy")
    rows = {finding.name: finding for finding in findings(here)}
    assert all(finding.state == "ok" for finding in rows.values()), rows
    assert rows["spade-edge"].found == spade_edge.__version__
    for name, package in (("onnxruntime", "onnxruntime"), ("galleries", "hnswlib"), ("export", "torch")):
        assert f"{package} {metadata.version(package)}" in rows[name].found


def test_broken_records_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("empty", None), ("nameless", "Version: 1\n"), ("versionless", "Name: versionless\n")):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        if text is not None:
            (tmp_path / f"{name}-1.dist-info" / "METADATA").write_text(text)
    (tmp_path / "good_one-2.dist-info").mkdir()
    (tmp_path / "good_one-2.dist-info" / "METADATA").write_text("Name: Good.One\nVersion: 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    here = Packages.here()
    assert here.versions["good-one"] == "2" and "numpy" in here.versions
    assert "nameless" not in here.versions


OWN = {"spade-edge": spade_edge.__version__}
WANTED = tuple(one for text in metadata.requires("spade-edge") or () if (one := Requirement.parse(text)) is not None)


def rows(versions: dict[str, str], *modules: str, python: str = ">=3.10") -> dict[str, tuple[str, str, str]]:
    installed = Packages(OWN | versions, WANTED, python, frozenset(modules))
    return {finding.name: (finding.state, finding.found, finding.remedy) for finding in findings(installed)}


def test_two_onnxruntimes_are_a_problem_and_two_opencvs_a_note() -> None:
    told = rows(
        {
            "numpy": "2.0",
            "onnxruntime": "1.20",
            "onnxruntime-gpu": "1.20",
            "opencv-python": "4.9",
            "opencv-python-headless": "4.8",
        }
    )
    state, found, remedy = told["onnxruntime"]
    assert state == "problem" and "onnxruntime 1.20 and onnxruntime-gpu 1.20" in found
    assert remedy.startswith("pip uninstall onnxruntime onnxruntime-gpu, then")
    assert told["opencv"][0] == "note" and told["camera"][0] == "ok"


def test_versions_under_the_bounds_of_our_own_record() -> None:
    told = rows({"numpy": "1.21.6", "onnxruntime": "1.16.3", "hnswlib": "0.7.0", "torch": "2.5.1"}, python=">=99")
    for name, says in (
        ("python", ">=99"),
        ("numpy", "1.21.6, but >=1.23.5 is needed"),
        ("onnxruntime", "onnxruntime 1.16.3, but >=1.17 is needed"),
        ("galleries", "hnswlib 0.7.0, but >=0.8 is needed"),
        ("export", "torch 2.5.1, but >=2.6 is needed"),
    ):
        assert told[name][0] == "problem" and says in told[name][1], told[name]
        assert "pip install" in told[name][2] or name == "python"
    old = rows({"numpy": "2.0", "onnxruntime-gpu": "1.10"})["onnxruntime"]
    assert old[0] == "problem" and "onnxruntime-gpu 1.10" in old[1]
    assert rows({"numpy": "2.0", "harvesters": "2.1"})["genicam"][0] == "problem"  # it wants one before 2


def test_a_bare_device_lacks_nothing_but_onnxruntime() -> None:
    told = rows({"numpy": "2.0"})
    assert told["onnxruntime"][0] == "problem" and "'spade-edge[cpu]'" in told["onnxruntime"][2]
    assert [name for name, (state, _, _) in told.items() if state != "ok"] == ["onnxruntime"]
    for extra in packages.EXTRAS:
        assert told[extra][1].startswith("not installed") and f"[{extra}]" in told[extra][1]
    assert rows({})["numpy"][0] == "problem"


def test_packages_that_pip_did_not_install() -> None:
    told = rows({"numpy": "2.0", "tqdm": "4.66"}, "cv2", "onnxruntime")
    assert told["onnxruntime"][:2] == ("ok", "present, without pip metadata")
    assert told["camera"][:2] == (
        "ok",
        "cv2 without pip metadata, not installed: av; [camera] is for image files, videos and cameras",
    )
    assert told["galleries"][1].startswith("cv2 without pip metadata, tqdm 4.66, not installed: hnswlib")


def test_a_folder_that_is_not_installed_and_a_record_that_is_stale() -> None:
    (bare,) = (one for one in findings(Packages({"numpy": "2.0"}, ())) if one.name == "spade-edge")
    assert bare.state == "note" and "not installed" in bare.found
    (stale,) = (one for one in findings(Packages({"spade-edge": "0.0.1"}, WANTED)) if one.name == "spade-edge")
    assert stale.state == "note" and "0.0.1" in stale.found
