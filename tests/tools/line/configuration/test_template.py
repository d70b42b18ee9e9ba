"""The commented configuration: it reads without a mistake, as it is and with every option set."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from spade_edge.tools.line.configuration.description import KIND, options_of, tables
from spade_edge.tools.line.configuration.options import OUTPUTS
from spade_edge.tools.line.configuration.reader import mistakes, read
from spade_edge.tools.line.configuration.template import CameraFound, template, toml

HOSTILE = 'a"b\\c\x7f\x85\u2028é\U0001f600'
CAMERAS = [CameraFound("camera-0", "0", "HD\nCam [x]"), CameraFound("camera-1", "genicam:AB-1", "")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "line.toml"


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.M)


@pytest.mark.parametrize("cameras", [[], CAMERAS])
@pytest.mark.parametrize("bundles", [{}, {"cap": "cap.spade"}, {"cap": "cap.spade", "lid": "/srv/lid.spade"}])
def test_it_reads_without_a_mistake(file: Path, cameras: list[CameraFound], bundles: dict[str, str]) -> None:
    file.write_text(template(cameras=cameras, bundles=bundles, searched="/srv/bundles"), encoding="utf-8")
    assert mistakes(file) == ()
    configuration = read(file)
    assert [camera.source for camera in configuration.cameras.values()] == [c.source for c in cameras] or not cameras
    assert [str(r.bundle) for r in configuration.recipes.values()] == [
        str(file.parent / path) for path in bundles.values() or ["part.spade"]
    ]
    assert configuration.outputs == {} and configuration.page is None


def test_every_option_is_there_with_its_default_and_what_it_is(file: Path) -> None:
    text = template(cameras=[], bundles={}, searched=".")
    words = " ".join(text.replace("\n# ", " ").split())
    every = uncommented(text).replace("tls = false", "tls = true").replace('username = ""', 'username = "u"')
    file.write_text(every)
    assert mistakes(file) == ()
    configuration = read(file)
    assert {type(output) for output in configuration.outputs.values()} == set(OUTPUTS.values())
    read_tables = {
        "line": configuration.line, "evidence": configuration.evidence, "page": configuration.page,
        "recipe": configuration.recipes["part"], "camera": configuration.cameras["camera-1"],
    }  # fmt: skip
    for name, kind, table in tables():
        made = configuration.outputs[kind] if kind else read_tables[name]
        for key, option in options_of(table).items():
            assert option.about in words, key
            if option.example is None and key not in ("tls", "username"):
                assert getattr(made, key) == option.default, key
    assert f'{KIND} = "mqtt"' in text


def test_what_was_not_found_is_said() -> None:
    text = template(cameras=[], bundles={}, searched="/srv/bundles")
    assert "No bundle was found in /srv/bundles" in text and "No camera was found" in text
    text = template(cameras=CAMERAS, bundles={"cap": "cap.spade"}, searched=".")
    assert "No bundle" not in text and "No camera" not in text and "Its driver calls it HD?Cam [x]." in text


def test_names_from_outside_cannot_leave_their_line(file: Path) -> None:
    cameras = [replace(CAMERAS[0], label=f'x"\nline = 1\n[page]\n{HOSTILE}')]
    text = template(cameras=cameras, bundles={"r": 'a"b\\c é'}, searched=f"/x\n[y]{HOSTILE}", file="a\nb.toml")
    file.write_text(text, encoding="utf-8")
    assert mistakes(file) == ()
    assert read(file).recipes["r"].bundle == file.parent / 'a"b\\c é'


def test_values_as_toml_writes_them(file: Path) -> None:
    for value in ("", HOSTILE, "\x00\n\t'", True, 0, -5, 1.5, 1e300, [], ["a", 'b"'], [1, [True]]):
        file.write_text(f"x = {toml(value)}\n", encoding="utf-8")
        from spade_edge.tools.line.configuration.text import document

        assert document(file).values == {"x": value}
