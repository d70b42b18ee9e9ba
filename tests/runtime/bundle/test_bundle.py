"""Bundles that are incomplete, altered or lie are refused by name; models that do not fit too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from altered import replaced

from spade_edge.galleries import Built
from spade_edge.runtime import BundleError, DeviceError, ModelError, Scorer
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.bundle.manifest import FILE, HISTORY, Manifest, Scales
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.card import METADATA_KEY
from spade_edge.runtime.network.session import Session


@pytest.fixture
def copy(edge: Built, tmp_path: Path) -> Path:
    """A bundle that may be spoilt."""
    return Path(shutil.copytree(edge.path, tmp_path / "copy.spade"))


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads((bundle / FILE).read_text())
    change(value)
    (bundle / FILE).write_text(json.dumps(value))


def swap_payload(bundle: Path, role: str, path: Path) -> None:
    """Put another file in a role, manifest and all, as somebody with bad intentions would."""
    digest = sha256(path)
    name = f"{role}-{digest[:16]}{path.suffix}"
    shutil.copyfile(path, bundle / name)
    entry = {"name": name, "sha256": digest, "size": path.stat().st_size}
    rewrite(bundle, lambda value: value["files"].update({role: entry}))


def test_the_manifest_survives_reading_and_writing(edge: Built, paper: Built) -> None:
    for built in (edge, paper):
        manifest = Manifest.read(built.path)
        assert manifest == built.manifest
        assert Manifest.from_text(manifest.to_text()) == manifest


def test_files_are_named_after_their_content(edge: Built, paper: Built) -> None:
    for built in (edge, paper):
        for role, payload in built.manifest.files.items():
            digest = sha256(built.path / payload.name)
            assert payload.sha256 == digest
            assert payload.name.startswith(f"{role}-{digest[:16]}.")
        named = {payload.name for payload in built.manifest.files.values()}
        assert {path.name for path in built.path.iterdir()} == {FILE, HISTORY, "log.jsonl", *named}


COMMON = {"model", "level1", "level2", "level3", "squares", "descriptors", "thumbnails"}
GOLDEN = {f"golden_{what}" for what in ("frames", "level1", "level2", "level3", "distances", "heatmaps")}
COMMON |= GOLDEN
KEPT = {"left_out", "reach"}


def test_what_a_bundle_is_made_of(edge: Built, paper: Built) -> None:
    coded, plain = Bundle.open(edge.path), Bundle.open(paper.path)
    assert set(coded.manifest.files) == COMMON | KEPT | {"key_weights", "index", "entries", "baseline"}
    assert set(plain.manifest.files) == COMMON  # descriptors need no baseline
    assert coded.baseline is not None and coded.baseline.shape == (64, 64) and plain.baseline is None
    assert plain.indexes == () and plain.manifest.scales is None
    assert [level.dtype for level in plain.gallery.levels] == [np.float32] * 3
    assert [level.shape for level in plain.gallery.levels] == [(8, 16, 16, 64), (8, 8, 8, 128), (8, 4, 4, 256)]
    assert [level.dtype for level in coded.gallery.levels] == [np.uint8] * 3
    assert [level.shape for level in coded.gallery.levels] == [(8, 256, 64), (8, 64, 128), (8, 16, 256)]
    assert isinstance(coded.gallery, CodedGallery) and len(coded.indexes) == 1 and coded.manifest.scales is not None
    assert coded.gallery.squares.shape == (8 * 16, 16) and len(coded.indexes[0]) == 8 * 16
    assert coded.gallery.coding.key_weights.shape == (16 * 64 + 4 * 128 + 256, 64)
    assert json.loads((edge.path / FILE).read_text())["schema"] == json.loads((paper.path / FILE).read_text())["schema"]


def test_the_scales_survive_as_float32(edge: Built) -> None:
    scales = Manifest.read(edge.path).scales
    assert scales is not None
    assert Scales.of(scales.coding(np.zeros((1792, 64), np.int8), "root")) == scales
    assert min(scales.steps) > 0 and len(scales.lowest) == 3 and len(scales.key_offset) == 64


@pytest.mark.parametrize(
    "role",
    [
        "model",
        "level1",
        "level3",
        "squares",
        "descriptors",
        "thumbnails",
        "key_weights",
        "index",
        "baseline",
        "golden_frames",
    ],
)
def test_a_missing_truncated_or_altered_file_is_named(copy: Path, edge: Built, role: str) -> None:
    path = copy / edge.manifest.files[role].name
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(BundleError, match=f"{path.name}: .*No such file"):
        Bundle.open(copy)
    path.write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=f"{path.name}: .*{len(whole)} bytes.* {len(whole) - 1};"):
        Bundle.open(copy)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{path.name}: expected SHA-256"):
        Bundle.open(copy)
    path.write_bytes(whole)
    Bundle.open(copy)


def test_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BundleError, match=r"manifest\.json.*No such file"):
            Bundle.open(path)
    with pytest.raises(BundleError, match=r"manifest\.json.*null"):
        Bundle.open(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 100_000, "\udcff", '{"schema": 5}'],
)
def test_a_manifest_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match="manifest.json.*expected"):
        Bundle.open(copy)


# As spade-edge wrote it before features were kept in codes; lists are shortened.
SCHEMA_1 = """{
 "schema": 1,
 "created": "2026-01-05T10:20:30+00:00",
 "writer": "spade-edge 0.1.0",
 "profile": "edge",
 "matching": {"neighbours": null, "kappa": 1, "sigma": 4.0, "search": "hnsw", "image_score": "map",
  "candidates": 16, "ef": 32},
 "departures": ["HNSW search over cells (paper: exact)"],
 "threshold": {"score": 6.5, "pixel": 6.5, "method": "largest leave-one-out score of the good images",
  "calibrated": false, "scores": [6.5, 4.25], "maps": 2},
 "model": {"schema": 1, "backbone": "resnet18", "weights": {}, "levels": [{"number": 1, "stride": 4, "channels": 64}],
  "image_level": 1, "image_channels": 64, "view": {"resize": [64, 64], "size": [64, 64]}, "colour": "BGR",
  "precision": "fp32", "parity": {}},
 "files": {"key_projection": {"name": "key_projection-0123456789abcdef.npy", "sha256": "", "size": 1}},
 "names": ["0.png", "1.png"]
}
"""


def test_a_bundle_of_an_earlier_format_is_to_be_built_again_and_of_a_later_one_needs_an_update(copy: Path) -> None:
    (copy / FILE).write_text(SCHEMA_1)
    with pytest.raises(BundleError, match=r"manifest\.json: expected schema 9, found 1; build the bundle again$"):
        Bundle.open(copy)
    (copy / FILE).write_text(SCHEMA_1.replace('"schema": 1', '"schema": 10'))
    with pytest.raises(BundleError, match=r"expected schema 9, found 10; update this machine's spade-edge$"):
        Bundle.open(copy)


def scaled(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change single lists of the scales."""
    return lambda v: v["scales"].update(changes)


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a newer field": lambda v: v.update(colour="red"),
    "a missing field": lambda v: v.pop("threshold"),
    "a path out of the bundle": lambda v: v["files"]["model"].update(name="../model-0123456789abcdef.onnx"),
    "a NUL in a path": lambda v: v["files"]["model"].update(name="model-0123456789abcdef\0.onnx"),
    "a NUL behind a path": lambda v: v["files"]["model"].update(name=v["files"]["model"]["name"] + "\0"),
    "a NUL in the name of an image": lambda v: v["images"][0].update(name="a\0b.png"),
    "half of a surrogate pair": lambda v: v["images"][0].update(name="a\ud800b.png"),
    "a path of another role": lambda v: v["files"]["level1"].update(v["files"]["level2"]),
    "a path that does not begin like its hash": lambda v: v["files"]["index"].update(sha256="0" * 64),
    "an absolute path": lambda v: v["files"]["model"].update(name="/etc/passwd"),
    "a missing role": lambda v: v["files"].pop("index"),
    "an extra role": lambda v: v["files"].update(more=v["files"]["index"]),
    "a wrong size": lambda v: v["files"]["index"].update(size=5),
    "a negative size": lambda v: v["files"]["index"].update(size=-1),
    "a size that is none": lambda v: v["files"]["index"].update(size=True),
    "no names": lambda v: v.update(images=[]),
    "one name too many": lambda v: v["images"].append(v["images"][0] | {"name": "more.png"}),
    "an interval that ends before it begins": lambda v: v["threshold"].update(interval=[0.5, 0.1]),
    "an interval beyond 1": lambda v: v["threshold"].update(interval=[0.0, 1.5]),
    "a threshold of text": lambda v: v["threshold"].update(score="5"),
    "an unknown search": lambda v: v["matching"].update(search="best"),
    "kappa 0": lambda v: v["matching"].update(kappa=0),
    "another colour order": lambda v: v["model"].update(colour="RGB"),
    "another view": lambda v: v["model"]["view"].update(size=[96, 64], resize=[96, 64]),
    "a view of 65 pixels": lambda v: v["model"]["view"].update(size=[65, 64], resize=[65, 64]),
    "a huge level": lambda v: v["model"]["levels"][0].update(channels=65536),
    "no levels": lambda v: v["model"].update(levels=[]),
    "levels upside down": lambda v: v["model"]["levels"].reverse(),
    "an unknown profile": lambda v: v.update(profile="fast"),
    "no scales": lambda v: v.pop("scales"),
    "scales null": lambda v: v.update(scales=None),
    "scales of another kind": lambda v: v.update(scales=[1, 2, 3]),
    "a scale missing": lambda v: v["scales"].pop("key_scale"),
    "a scale too many": scaled(gamma=[1.0]),
    "a level without a step": lambda v: v["scales"]["steps"].pop(),
    "a level too many": lambda v: v["scales"]["lowest"].append(0.0),
    "steps for no level": scaled(lowest=[], steps=[]),
    "a step 0": lambda v: v["scales"]["steps"].__setitem__(1, 0),
    "a negative step": lambda v: v["scales"]["steps"].__setitem__(2, -0.1),
    "a step of text": lambda v: v["scales"]["steps"].__setitem__(0, "1"),
    "a huge step": lambda v: v["scales"]["steps"].__setitem__(0, 1e13),
    "a step beyond float64": lambda v: v["scales"]["steps"].__setitem__(0, 10**400),
    "a huge lowest": lambda v: v["scales"]["lowest"].__setitem__(0, -1e13),
    "a huge key scale": lambda v: v["scales"]["key_scale"].__setitem__(5, 1e13),
    "a key offset too few": lambda v: v["scales"]["key_offset"].pop(),
    "keys of another width": lambda v: [v["scales"][name].pop() for name in ("key_scale", "key_offset")],
    "a huge key offset": lambda v: v["scales"]["key_offset"].__setitem__(0, 1e300),
    "a step that is 0 in float32": lambda v: v["scales"]["steps"].__setitem__(0, 1e-60),
    "keys of no width": scaled(key_scale=[], key_offset=[]),
    "scales without codes": lambda v: v["matching"].update(projection="none", search="exact"),
    "no codes but an index": lambda v: (v["matching"].update(projection="none", search="exact"), v.update(scales=None)),
    "hnsw without codes": lambda v: v["matching"].update(projection="none"),
    "a projection of schema 1": lambda v: v["matching"].update(projection="pca"),
    "candidates 0": lambda v: v["matching"].update(candidates=0),
    "a million candidates": lambda v: v["matching"].update(candidates=10**6),
    "ef 0": lambda v: v["matching"].update(ef=0),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused(copy: Path, lie: str) -> None:
    rewrite(copy, LIES[lie])
    with pytest.raises(BundleError, match="expected|unknown field") as caught:
        Bundle.open(copy, verify="structure")
    assert "\n" not in str(caught.value)


def test_arrays_of_another_kind_are_refused(copy: Path, tmp_path: Path, edge: Built) -> None:
    squares = np.load(edge.path / edge.manifest.files["squares"].name)
    wrong = {
        "shape": squares[:, :-1],
        "float64": squares.astype(np.float64),
        "NaN": np.full_like(squares, np.nan),
        "objects": np.array([object()], dtype=object),
    }
    for name, array in wrong.items():
        path = tmp_path / f"{name}.npy"
        np.save(path, array, allow_pickle=True)
        swap_payload(copy, "squares", path)
        with pytest.raises(BundleError, match="squares.*expected"):
            Bundle.open(copy)
    path = tmp_path / "archive.npy"
    with path.open("wb") as file:
        np.savez(file, squares=squares)
    swap_payload(copy, "squares", path)
    with pytest.raises(BundleError, match="squares.*expected"):
        Bundle.open(copy)


@pytest.mark.parametrize(("role", "shape"), [("level1", (8, 256, 64)), ("level3", (8, 16, 256))])
def test_levels_of_another_kind_are_refused(
    copy: Path, tmp_path: Path, edge: Built, role: str, shape: tuple[int, int, int]
) -> None:
    codes = np.load(edge.path / edge.manifest.files[role].name)
    assert codes.shape == shape
    wrong = {
        "float32": codes.astype(np.float32),
        "signed": codes.view(np.int8),
        "one_image_too_few": codes[1:],
        "one_channel_too_many": np.concatenate([codes, codes[:, :, :1]], axis=2),
        "by_row_and_column": codes.reshape(len(codes), shape[1] // 4, 4, -1),
    }
    for name, array in wrong.items():
        np.save(tmp_path / f"{name}.npy", array)
        swap_payload(copy, role, tmp_path / f"{name}.npy")
        with pytest.raises(BundleError, match=f"{role}-.*expected {'x'.join(map(str, shape))} uint8, found"):
            Bundle.open(copy)


def test_expected_maps_of_another_kind_are_refused(copy: Path, tmp_path: Path, edge: Built) -> None:
    expected = np.load(edge.path / edge.manifest.files["baseline"].name)
    assert expected.shape == (64, 64) and expected.dtype == np.float32
    poisoned = expected.copy()
    poisoned[5, 6] = np.inf
    wrong = {"float64": expected.astype(float), "narrow": expected[:, 1:], "flat": expected.ravel(), "inf": poisoned}
    for name, array in wrong.items():
        np.save(tmp_path / f"{name}.npy", array)
        swap_payload(copy, "baseline", tmp_path / f"{name}.npy")
        with pytest.raises(BundleError, match="baseline-.*expected"):
            Bundle.open(copy)


def test_key_weights_of_another_kind_are_refused(copy: Path, tmp_path: Path, edge: Built) -> None:
    weights = np.load(edge.path / edge.manifest.files["key_weights"].name)
    for name, array in {"uint8": weights.view(np.uint8), "narrow": weights[:, 1:], "short": weights[1:]}.items():
        np.save(tmp_path / f"{name}.npy", array)
        swap_payload(copy, "key_weights", tmp_path / f"{name}.npy")
        with pytest.raises(BundleError, match="key_weights.*expected 1792x64 int8, found"):
            Bundle.open(copy)


@pytest.mark.parametrize(("cells", "dimensions"), [(9, 64), (127, 64), (129, 64), (128, 63), (128, 8)])
def test_an_index_of_another_gallery_is_refused(copy: Path, tmp_path: Path, cells: int, dimensions: int) -> None:
    from spade_edge.galleries.index_writer import write_index

    keys = np.random.default_rng(0).integers(0, 128, (cells, dimensions), dtype=np.uint8)
    write_index(keys, tmp_path / "other.hnsw")
    swap_payload(copy, "index", tmp_path / "other.hnsw")
    says = "index-.*expected keys of 64 numbers" if dimensions != 64 else "entries-.*expected .*label in index-"
    with pytest.raises(BundleError, match=says):
        Bundle.open(copy)


@pytest.mark.parametrize(
    "fault", ["too few", "int64", "absent", "beyond", "below", "none", "another's", "an entry less", "excluded"]
)
def test_entries_that_do_not_fit_the_index_are_refused(copy: Path, tmp_path: Path, edge: Built, fault: str) -> None:
    entries = np.array(np.load(edge.path / edge.manifest.files["entries"].name))
    assert entries.tolist() == list(range(128))  # no cell is a copy of another
    if fault == "too few":
        entries = entries[:-1]
    elif fault == "int64":
        entries = entries.astype(np.int64)
    elif fault == "absent":  # no cell has this entry, which is in the index
        entries[5] = 6
    elif fault in ("beyond", "below", "none"):
        entries[5] = {"beyond": 128, "below": -2, "none": -1}[fault]
    elif fault == "another's":  # each entry is there, but two of them are exchanged
        entries[[5, 6]] = 6, 5
    elif fault == "an entry less":
        entries[:] = 0
    np.save(tmp_path / "entries.npy", entries)
    swap_payload(copy, "entries", tmp_path / "entries.npy")
    if fault == "excluded":  # the manifest says that the last image is excluded, and the index holds its cells
        value = json.loads((copy / FILE).read_text())
        value["images"][-1]["excluded"] = {"reason": "blurred", "set": value["created"]}
        (copy / FILE).write_text(json.dumps(value))
    with pytest.raises(BundleError, match="expected"):
        Bundle.open(copy)


def altered_model(edge: Built, path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(edge.path / edge.manifest.files["model"].name)
    change(model)
    onnx.save(model, path)
    return path


def test_models_that_are_no_pyramid_are_refused(edge: Built, tmp_path: Path) -> None:
    def without_card(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]

    def without_output(model: onnx.ModelProto) -> None:
        del model.graph.output[1]

    def with_other_names(model: onnx.ModelProto) -> None:
        model.graph.output[0].name = model.graph.node[-1].output[0]

    with pytest.raises(ModelError, match="spade-edge export"):
        Session.open(altered_model(edge, tmp_path / "a.onnx", without_card))
    with pytest.raises(ModelError, match="level1, level2, level3, image"):
        Session.open(altered_model(edge, tmp_path / "b.onnx", without_output))
    with pytest.raises(ModelError, match="expected"):
        Session.open(altered_model(edge, tmp_path / "c.onnx", with_other_names))
    (tmp_path / "d.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        Session.open(tmp_path / "d.onnx")
    with pytest.raises(ModelError, match="model.*found none"):
        Session.open(tmp_path / "absent.onnx")


def test_a_card_that_does_not_fit_the_graph_is_refused(edge: Built, tmp_path: Path) -> None:
    def with_card(change: Callable[[dict[str, Any]], None]) -> Callable[[onnx.ModelProto], None]:
        def apply(model: onnx.ModelProto) -> None:
            (prop,) = (p for p in model.metadata_props if p.key == METADATA_KEY)
            card = json.loads(prop.value)
            change(card)
            prop.value = json.dumps(card)

        return apply

    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda c: c["levels"][0].update(channels=63),
        lambda c: c["view"].update(size=[96, 96], resize=[96, 96]),
        lambda c: c.update(image_channels=5),
        lambda c: c.update(schema=1),
        lambda c: c["levels"][0].update(stride=3),
    ]
    for change in changes:
        with pytest.raises(ModelError, match="expected"):
            Session.open(altered_model(edge, tmp_path / "m.onnx", with_card(change)))


def test_a_bundle_with_another_model_is_refused(copy: Path, edge: Built, tmp_path: Path) -> None:
    def other_weights(model: onnx.ModelProto) -> None:
        (prop,) = (p for p in model.metadata_props if p.key == METADATA_KEY)
        prop.value = prop.value.replace('"source": "random"', '"source": "elsewhere"')

    swap_payload(copy, "model", altered_model(edge, tmp_path / "other.onnx", other_weights))
    with pytest.raises(BundleError, match="found another"):
        Scorer.open(copy)


def test_pipes_and_devices_in_a_bundle_do_not_hang(copy: Path, edge: Built) -> None:
    path = copy / edge.manifest.files["squares"].name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleError, match="found a folder, pipe or device"):
        Bundle.open(copy)
    (copy / FILE).unlink()
    for target in ("/dev/zero", "/dev/null"):
        (copy / FILE).symlink_to(target)
        with pytest.raises(BundleError, match="found something else"):
            Bundle.open(copy)
        (copy / FILE).unlink()


def test_levels_of_nan_are_an_error_and_no_verdict(tmp_path: Path, paper: Built, good_images: Path) -> None:
    copy = Path(shutil.copytree(paper.path, tmp_path / "copy.spade"))
    level = np.load(paper.path / paper.manifest.files["level1"].name)
    for number, items in enumerate((slice(None), slice(5, 6))):  # all images, or one of them
        spoilt = level.copy()
        spoilt[items, 0, 1] = np.nan  # at a place that is not looked at when a bundle is opened
        np.save(tmp_path / f"{number}.npy", spoilt)
        swap_payload(copy, "level1", tmp_path / f"{number}.npy")
        with pytest.raises(BundleError, match="finite"):
            Scorer.open(copy)(np.load(good_images / "1.npy"))


@pytest.mark.parametrize("role", ["squares", "descriptors"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_when_a_bundle_is_opened(
    copy: Path, tmp_path: Path, edge: Built, role: str, value: float
) -> None:
    array = np.load(edge.path / edge.manifest.files[role].name)
    array[3, 1] = value
    np.save(tmp_path / "spoilt.npy", array)
    swap_payload(copy, role, tmp_path / "spoilt.npy")
    with pytest.raises(BundleError, match=f"{role}.*finite"):
        Bundle.open(copy)


def test_a_provider_that_is_not_there_is_an_error(edge: Built) -> None:
    with pytest.raises(DeviceError, match="expected one of the providers of this machine's onnxruntime"):
        Scorer.open(edge.path, providers=("CUDAExecutionProvider",))
    with pytest.raises(DeviceError, match="found none"):
        Scorer.open(edge.path, providers=())


def test_a_network_that_gives_nan_is_an_error(edge: Built, tmp_path: Path) -> None:
    def poison(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if len(tensor.dims) == 4:
                array = onnx.numpy_helper.to_array(tensor).copy()
                array[:] = np.nan
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    session = Session.open(altered_model(edge, tmp_path / "nan.onnx", poison))
    with pytest.raises(ModelError, match="finite"):
        session(np.full((1, 64, 64, 3), 100, np.float32))


@pytest.fixture
def masked(with_views: Callable[[str], Built], tmp_path: Path) -> Path:
    """A bundle with two regions, a mask and a gallery per view, that may be spoilt."""
    return Path(shutil.copytree(with_views("masked regions, per-view").path, tmp_path / "masked.spade"))


def test_what_a_bundle_with_views_is_made_of(with_views: Callable[[str], Built]) -> None:
    shared, per_view, plain, masked = (
        Bundle.open(with_views(name).path)
        for name in ("shared", "per-view", "per-view, no codes", "masked regions, per-view")
    )
    indexes = {f"index{number}" for number in range(1, 7)}
    maps = COMMON | {"baseline"}
    assert set(shared.manifest.files) == maps | KEPT | {"key_weights", "index", "entries"}
    assert set(per_view.manifest.files) == maps | KEPT | {"key_weights", "entries"} | indexes
    assert set(plain.manifest.files) == maps
    assert set(masked.manifest.files) == maps | KEPT | {"key_weights", "index1", "index2", "entries", "mask"}
    for bundle in (shared, per_view, plain, masked):
        assert bundle.baseline is not None and bundle.baseline.shape == bundle.manifest.canvas.size
    assert [len(index) for index in shared.indexes] == [36 * 4]
    assert [len(index) for index in per_view.indexes] == [6 * 4] * 6
    for bundle in (shared, per_view):
        assert [level.shape for level in bundle.gallery.levels] == [(36, 64, 64), (36, 16, 128), (36, 4, 256)]
        assert bundle.thumbnails.shape == (36, 16, 16, 3) and len(bundle.gallery.descriptors) == 36
    # An index per view holds what the shared one holds of that view.
    (index,) = shared.indexes
    keys = index.keys[np.argsort(index.labels)]
    own = np.concatenate([index.keys[np.argsort(index.labels)] for index in per_view.indexes])
    assert np.array_equal(keys, own)
    assert [bundle.mask is None for bundle in (shared, per_view, plain, masked)] == [True, True, True, False]
    assert masked.mask is not None and masked.mask.looked_at.dtype == bool
    for bundle in (shared, per_view, plain, masked):
        assert Manifest.from_text(bundle.manifest.to_text()) == bundle.manifest


LAYOUT_LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no layout": lambda v: v.pop("layout"),
    "a layout that is none": lambda v: v.update(layout=[1]),
    "a box outside the frame": lambda v: v["layout"]["boxes"][0].__setitem__(0, 70),
    "a box below 0": lambda v: v["layout"]["boxes"][0].__setitem__(1, -1),
    "a box of nothing": lambda v: v["layout"]["boxes"][1].__setitem__(2, 0),
    "a box of a fraction": lambda v: v["layout"]["boxes"][1].__setitem__(2, 20.0),
    "a box of three": lambda v: v["layout"]["boxes"][0].pop(),
    "a box beyond any number": lambda v: v["layout"]["boxes"][0].__setitem__(0, 10**40),
    "a box twice": lambda v: v["layout"]["boxes"].__setitem__(1, v["layout"]["boxes"][0]),
    "a box too many": lambda v: v["layout"]["boxes"].append([0, 0, 9, 9]),
    "a box too few": lambda v: v["layout"]["boxes"].pop(),
    "no boxes": lambda v: v["layout"].update(boxes=[]),
    "2,000 boxes": lambda v: v["layout"].update(boxes=[[i % 60, i // 60, 1, 1] for i in range(2000)]),
    "boxes without a frame": lambda v: v["layout"].update(frame=None),
    "a smaller frame": lambda v: v["layout"].update(frame=[54, 72]),
    "a frame of another shape": lambda v: v["layout"].update(frame=[72, 72]),
    "a frame without end": lambda v: v["layout"].update(frame=[32767, 72]),
    "a frame of nothing": lambda v: v["layout"].update(frame=[0, 0]),
    "a map that no memory holds": lambda v: v["layout"].update(
        frame=[32766, 32766], boxes=[[0, 0, 32, 32], [32700, 32700, 32, 32]]
    ),
    "no mask, but its file": lambda v: v["layout"].update(masked=False),
    "a mask without its file": lambda v: v["files"].pop("mask"),
    "a mask that is no flag": lambda v: v["layout"].update(masked=1),
    "an unknown field": lambda v: v["layout"].update(tiles=[]),
    "a view of the whole": lambda v: v.update(layout={"frame": None, "boxes": [], "masked": False}),
    "a whole with a mask": lambda v: v.update(layout={"frame": None, "boxes": [], "masked": True}),
    "an index too few": lambda v: v["files"].pop("index2"),
    "an index too many": lambda v: v["files"].update(index3=v["files"]["index2"]),
    "an index of another name": lambda v: v["files"].update(index=v["files"].pop("index1")),
    "a shared gallery": lambda v: v["matching"].update(gallery="shared"),
    "a gallery of another kind": lambda v: v["matching"].update(gallery="per view"),
    "a gallery that is none": lambda v: v["matching"].update(gallery=None),
    "no gallery": lambda v: v["matching"].pop("gallery"),
    "one name too many": lambda v: v["images"].append(v["images"][0] | {"name": "more.png"}),
    "a model that crops": lambda v: v["model"]["view"].update(resize=[40, 40]),
}


@pytest.mark.parametrize("lie", LAYOUT_LIES)
def test_a_layout_that_lies_is_refused(masked: Path, lie: str) -> None:
    Bundle.open(masked, verify="structure")
    rewrite(masked, LAYOUT_LIES[lie])
    with pytest.raises(BundleError, match="expected|unknown field") as caught:
        Bundle.open(masked, verify="structure")
    assert "\n" not in str(caught.value)


def test_a_layout_is_not_asked_for_where_a_bundle_has_one_view(edge: Built) -> None:
    assert json.loads((edge.path / FILE).read_text())["layout"] == {"frame": None, "boxes": [], "masked": False}


@pytest.mark.parametrize("role", ["mask", "index1", "index2"])
def test_a_mask_or_an_index_that_is_missing_truncated_or_altered_is_named(masked: Path, role: str) -> None:
    path = masked / Manifest.read(masked).files[role].name
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(BundleError, match=f"{path.name}: .*No such file"):
        Bundle.open(masked)
    path.write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=f"{path.name}: .*{len(whole)} bytes.* {len(whole) - 1};"):
        Bundle.open(masked)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"{path.name}: expected SHA-256"):
        Bundle.open(masked)


def test_masks_of_another_kind_are_refused(masked: Path, tmp_path: Path) -> None:
    mask = np.load(masked / Manifest.read(masked).files["mask"].name)
    assert mask.shape == (56, 72) and mask.dtype == np.uint8
    wrong = {
        "small": mask[1:],
        "turned": np.ascontiguousarray(mask.T),
        "coloured": np.repeat(mask[..., None], 3, axis=2),
        "bool": mask > 0,
        "float": mask.astype(np.float32),
        "flat": mask.ravel(),
    }
    for name, array in wrong.items():
        np.save(tmp_path / f"{name}.npy", array)
        swap_payload(masked, "mask", tmp_path / f"{name}.npy")
        with pytest.raises(BundleError, match="mask-.*expected 56x72 uint8, found") as caught:
            Bundle.open(masked)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "nothing.npy", np.zeros_like(mask))
    swap_payload(masked, "mask", tmp_path / "nothing.npy")
    with pytest.raises(BundleError, match="mask-.*found none"):
        Bundle.open(masked)


def test_a_mask_that_leaves_nothing_of_any_view_is_an_error_and_no_verdict(
    masked: Path, tmp_path: Path, textures: Path
) -> None:
    mask = np.zeros((56, 72), np.uint8)
    mask[0, -1] = 1  # outside both regions
    np.save(tmp_path / "corner.npy", mask)
    swap_payload(masked, "mask", tmp_path / "corner.npy")
    with pytest.raises(BundleError, match="mask"):
        Scorer.open(masked)(np.load(textures / "0.npy"))


def test_an_index_of_another_view_is_refused(masked: Path, tmp_path: Path) -> None:
    from spade_edge.galleries.index_writer import write_index

    scales = Manifest.read(masked).scales
    assert scales is not None
    dimensions = len(scales.key_scale)
    keys = np.random.default_rng(0).integers(0, 128, (23, dimensions), dtype=np.uint8)
    write_index(keys, tmp_path / "other.hnsw")
    swap_payload(masked, "index2", tmp_path / "other.hnsw")
    with pytest.raises(BundleError, match=r"entries-.*expected .*label in index2-"):
        Bundle.open(masked)


def test_key_weights_that_not_every_processor_multiplies_right(edge: Built, tmp_path: Path) -> None:
    weights = np.load(edge.path / edge.manifest.files["key_weights"].name)
    assert weights.min() >= -127
    weights[5, 7] = -128
    with pytest.raises(BundleError, match=r"key_weights-\w+\.npy: .*-128"):
        Bundle.open(replaced(edge.path, tmp_path / "copy.spade", "key_weights", weights))
