"""fleet.toml: what it says, and every mistake with its line; and the command that reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run
from documents import blocks

from spade_edge.galleries import BuildOptions, Views, pack
from spade_edge.runtime.matching.config import Matching
from spade_edge.tools.cli.fleet.build_options import BuildOptionsReader
from spade_edge.tools.fleet.plan import BundlePlan
from spade_edge.tools.fleet.plan_file import PlanError, read_plan

WHOLE = """\
version = 1
cache = "s3://plant/cache"
output = "bundles"

[defaults]
model = "model.onnx"
false_rejects = 0.01
region = "0,0,64,64"

[[bundle]]
name = "bolt"
images = "s3://plant/bolt.jsonl"

[[bundle]]
name = "Nut-2.b"
images = "nuts"
model = "/models/other.onnx"
false_rejects = "2%"
region = ["0,0,64,64", "10,10,64,64"]
gallery = "per-view"
views = "64x32"
sigma = 3
skip_bad = true
even_so = false
exclude = ["a.png", "list.txt"]
mask = "mask.png"
groups = "parts.csv"
shards = 8
"""


def mistakes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_plan(path, BuildOptionsReader())
    assert "\n" not in str(caught.value)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_what_a_plan_says(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("b.png\nc.png\n")
    path = tmp_path / "fleet.toml"
    path.write_text(WHOLE)
    plan = read_plan(path, BuildOptionsReader())
    assert (plan.cache, plan.output) == ("s3://plant/cache", tmp_path / "bundles")
    bolt, nut = plan.bundles
    one = BuildOptions(rate=0.01, views=Views(regions=((0, 0, 64, 64),)), matching=Matching())
    assert bolt == BundlePlan("bolt", "s3://plant/bolt.jsonl", str(tmp_path / "model.onnx"), one, 1)
    assert nut == BundlePlan(
        "Nut-2.b",
        str(tmp_path / "nuts"),
        "/models/other.onnx",
        BuildOptions(
            rate=0.02,
            matching=Matching(sigma=3.0, gallery="per-view"),
            views=Views(tile=(32, 64), regions=((0, 0, 64, 64), (10, 10, 64, 64)), mask=tmp_path / "mask.png"),
            skip_bad=True,
            exclude=("a.png", "b.png", "c.png"),
            groups=str(tmp_path / "parts.csv"),
        ),
        8,
    )


def test_the_plan_of_the_documents(tmp_path: Path) -> None:
    (block,) = (block for block in blocks("toml") if block.page == "docs/how-to/fleet-build.md")
    path = tmp_path / "fleet.toml"
    path.write_text(block.text)
    assert [(bundle.name, bundle.shards) for bundle in read_plan(path, BuildOptionsReader()).bundles] == [
        ("bolt", 1), ("walkway", 8),
    ]  # fmt: skip


def test_least_plan(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text('version = 1\n[[bundle]]\nname = "a"\nimages = "i"\nmodel = "m"\n')
    plan = read_plan(path, BuildOptionsReader())
    assert (plan.output, plan.cache) == (tmp_path, str(tmp_path / ".cache"))
    assert plan.bundles[0].options == BuildOptions(matching=Matching())


def test_all_mistakes_at_once_each_with_its_line(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """\
version = 2
outputs = "x"
[defaults]
model = 5
fals_rejects = 0.1
align = "maybe"
[[bundle]]
name = "a/b"
images = ""
[[bundle]]
name = "b"
false_rejects = 7
skip_bad = "yes"
shards = 0
kappa = [1, 2]
region = "1,2,3"
output = "elsewhere"
[[bundle]]
name = "B"
images = "x"
exclude = []
""",
    )
    expected = [
        ("line 1, version: expected 1, found 2", "write version = 1"),
        ('line 2, outputs: expected a known option, found "outputs"', "write output"),
        ("line 4, [defaults] model: expected text, found 5", 'write model = "…"'),
        ('line 5, [defaults] fals_rejects: expected a known option, found "fals_rejects"', "write false_rejects"),
        ('line 6, [defaults] align: expected one of auto, off, found "maybe"', "change it; "),
        ("line 8, [bundle \"a/b\"] name: expected letters, digits, '.', '_' and '-', found \"a/b\"", "rename it"),
        ('line 9, [bundle "a/b"] images: expected text, found ""', 'write images = "…"'),
        ('line 10, [bundle "b"] images: expected text, found none', 'write images = "…"'),
        ("line 12, [bundle \"b\"] false_rejects: expected a fraction such as 0.01 or 1%, found '7'", "change it"),
        ('line 13, [bundle "b"] skip_bad: expected true or false, found "yes"', "change it"),
        ('line 14, [bundle "b"] shards: expected a whole number from 1 to 10000, found 0', "change it"),
        ('line 15, [bundle "b"] kappa: expected text or a number, found a list', "change it"),
        ("line 16, [bundle \"b\"] region: expected X,Y,WIDTH,HEIGHT in whole pixels, found '1,2,3'", "change it"),
        ('line 17, [bundle "b"] output: expected a known option, found "output"', "remove it"),
        ('line 19, [bundle "B"] name: expected each name once, found "B"', "rename one of them"),
        ('line 21, [bundle "B"] exclude: expected at least one entry, found an empty list', "change it"),
    ]
    assert len(found) == len(expected)
    for said, (start, remedy) in zip(found, expected, strict=True):
        assert said.startswith(f"{start}; {remedy}"), said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1", "bundle: expected a table [[bundle]] for each bundle, found none"),
        ("version = 1\nbundle = 3", "line 2, bundle: expected tables of bundles, found 3"),
        ("version = true\n[[bundle]]\n", "line 1, version: expected 1, found true"),
        ("version = 1\n[bundle]\nname = 'x'", "line 2, bundle: expected tables of bundles, found a table"),
        ("version = 1\ndefaults = 1\n", "line 2, [defaults]: expected a table, found 1"),
        (
            "version = 1\n[[bundle]]\nname = 1\nimages = 'i'\nmodel = 'm'",
            "line 3, [bundle, number 1] name: expected te",
        ),
        ("version = ", "line 1: expected a value, found something else"),
        (
            "version = 1\n[[bundle]]\nname = 'x'\nimages = 'i'\nmodel = 'm'\noverlap = 3",
            'line 2, [bundle "x"]: expected an overlap with tiles only, found one without; give a tile\'s size as ',
        ),
        (
            "version = 1\n[[bundle]]\nname = 'x'\nimages = 'i'\nmodel = 'm'\nprofile = 'paper'\nshards = 2",
            'line 7, [bundle "x"] shards: expected one part of a gallery without codes, found 2; remove shards',
        ),
        ("version = 1\n[[bundle]]\nname = 'x'\nimages = \"i\\u0000\"\nmodel = 'm'", 'line 4, [bundle "x"] images: '),
    ],
)
def test_mistakes(tmp_path: Path, text: str, said: str) -> None:
    assert any(mistake.startswith(said) for mistake in mistakes(tmp_path, text)), mistakes(tmp_path, text)


def test_every_option_of_a_build_is_known() -> None:
    names = BuildOptionsReader().names
    assert {"false_rejects", "skip_bad", "follow_links", "normalisation", "place", "groups", "threads"} <= set(names)
    assert not {"output", "json", "review", "images", "model", "help"} & set(names)


def test_the_command(
    tmp_path: Path, good_images: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fleet.toml"
    lines = [
        "version = 1", 'output = "out"', "[defaults]", f'model = "{model}"', 'place = "free"',
        "[[bundle]]", 'name = "bolt"', f'images = "{good_images}"',
        "[[bundle]]", 'name = "gone"', 'images = "nothing"',
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    code, out, _ = run(capsys, "fleet", "build", path, "--dry-run", "--json")
    dry = [json.loads(line) for line in out.splitlines()]
    assert (code, [row["state"] for row in dry]) == (3, ["to be built", "failed"])
    code, out, err = run(capsys, "fleet", "build", path, "--workers", 1)
    assert code == 3
    assert out.splitlines()[0].split() == ["bundle", "state", "digest", "images", "threshold", "seconds"]
    assert out.splitlines()[-1] == "2 bundles: 1 built, 1 failed"
    assert f"gone: {tmp_path / 'nothing'}: expected a folder of images, found nothing" in out
    assert "bolt: built" in err.splitlines() and "Traceback" not in err
    code, out, _ = run(capsys, "fleet", "build", path, "--only", "bolt", "--json")
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert (code, row["name"], row["state"], row["key"], row["error"]) == (0, "bolt", "unchanged", dry[0]["key"], None)
    assert row["facts"]["images"] == 8
    path.write_text("version = 3\nbundles = 1")
    code, out, err = run(capsys, "fleet", "build", path)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"{path}: bundle: expected a table [[bundle]] for each bundle, found none; add one with name and images",
        f"{path}: line 1, version: expected 1, found 3; write version = 1",
        f'spade-edge: {path}: line 2, bundles: expected a known option, found "bundles"; write bundle',
    ]
    code, _, err = run(capsys, "fleet", "build", path, "--ray-address", "auto")
    assert code == 2 and err == (
        "spade-edge: expected --executor ray with --ray-address, found local; add --executor ray\n"
    )


@pytest.mark.parametrize("shards", ['"8"', "[1]", "0", "true"])
def test_wrong_shards_of_the_defaults_are_one_mistake(tmp_path: Path, shards: str) -> None:
    text = f'version = 1\n[defaults]\nshards = {shards}\n[[bundle]]\nname = "a"\nimages = "i"\nmodel = "m"\n'
    (tmp_path / "fleet.toml").write_text(text)
    with pytest.raises(PlanError, match=r"line 3, \[defaults\] shards: expected a whole number from 1") as caught:
        read_plan(tmp_path / "fleet.toml", BuildOptionsReader())
    assert len(caught.value.mistakes) == 1


def test_bundles_lie_in_a_folder(tmp_path: Path) -> None:
    rest = '[[bundle]]\nname = "a"\nimages = "i"\nmodel = "m"\n'
    file = tmp_path / "fleet.toml"
    file.write_text(f'version = 1\noutput = "s3://plant/bundles"\n{rest}')
    with pytest.raises(PlanError, match="line 2, output: expected a folder of this machine, found an address"):
        read_plan(file, BuildOptionsReader())
    file.write_text(f'version = 1\noutput = "file://{tmp_path}/out"\n{rest}')
    assert read_plan(file, BuildOptionsReader()).output == tmp_path / "out"


@pytest.mark.parametrize("option", ['groups = "a\\u0000.csv"', 'exclude = ["1.png", "a\\u0000.txt"]'])
def test_a_nul_is_a_mistake(tmp_path: Path, option: str) -> None:
    text = f'version = 1\n[[bundle]]\nname = "a"\nimages = "i"\nmodel = "m"\n{option}\n'
    (tmp_path / "fleet.toml").write_text(text)
    with pytest.raises(PlanError, match="line 6, .* expected text without control characters, found "):
        read_plan(tmp_path / "fleet.toml", BuildOptionsReader())


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(tmp_path / "fleet.toml", BuildOptionsReader())
    assert str(caught.value).endswith(
        "expected a TOML file, found nothing at this path; give the path of a plan, such as fleet.toml"
    )


@pytest.mark.slow
def test_two_machines_may_build_the_same_at_once(tmp_path: Path, good_images: Path, model: Path) -> None:
    outputs = ("one", "two")
    for output in outputs:
        lines = [
            "version = 1", f'output = "{output}"', 'cache = "cache"', "[[bundle]]", 'name = "bolt"',
            f'images = "{good_images}"', f'model = "{model}"', 'place = "free"',
        ]  # fmt: skip
        (tmp_path / f"{output}.toml").write_text("\n".join(lines))
    command = [sys.executable, "-m", "spade_edge.tools.cli.main", "fleet", "build"]
    own = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
    builders = [
        subprocess.Popen([*command, str(tmp_path / f"{output}.toml")], env=own, stdout=subprocess.DEVNULL)
        for output in outputs
    ]
    assert [builder.wait() for builder in builders] == [0, 0]
    one, two = (pack(tmp_path / output / "bolt.spade", tmp_path / f"{output}.tar") for output in outputs)
    assert one.path.read_bytes() == two.path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["content", "results"]
    assert not list((tmp_path / "cache").rglob(".*"))
