"""What `spade-edge build` and `gallery` say: few lines, and commands that can be copied."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from spade_edge.galleries import Built
from spade_edge.tools.cli.text import gallery
from spade_edge.tools.cli.text.build import SHOWN, notes, sentence
from spade_edge.tools.cli.text.threshold import lines


def described(built: Built, *, path: Path, untypical: float) -> Built:
    """A bundle of which one image is untypical."""
    images = [replace(image, untypical=0.0) for image in built.manifest.images]
    images[3] = replace(images[3], untypical=untypical, remark="differs most at the top")
    return replace(built, path=path, manifest=replace(built.manifest, images=tuple(images)), former=None)


def test_the_commands_can_be_copied_whatever_the_bundle_is_called(edge: Built) -> None:
    path = Path("/a b/it's.spade")
    built = described(edge, path=path, untypical=2.0)
    said = notes(built)
    commands = [line.split(": ", 1)[1] for line in said if ": spade-edge " in line]
    assert [shlex.split(command)[:5] for command in commands] == [
        ["spade-edge", "gallery", "review", "--bundle", str(path)],
        ["spade-edge", "gallery", "exclude", "--bundle", str(path)],
    ]
    assert sum("look at this image" in line and edge.manifest.names[3] in line for line in said) == 1
    assert not any("look at" in line for line in notes(described(edge, path=path, untypical=1.0)))
    other = lines(built.manifest, path)[-1].removeprefix("set another: ")
    assert shlex.split(other)[:4] == ["spade-edge", "threshold", "--bundle", str(path)]


def test_many_repeats_are_not_many_lines(edge: Built) -> None:
    for parts, more in ((SHOWN, ""), (SHOWN + 1, "of 1 more part;"), (100, f"of {100 - SHOWN} more parts;")):
        one = edge.manifest.images[0]
        images = tuple(replace(one, name=f"{part}{shot}.png", group=part) for part in range(parts) for shot in "ab")
        said = [
            line
            for line in notes(replace(edge, manifest=replace(edge.manifest, images=images)))
            if line.startswith(("these images show the same part", "the same is true"))
        ]
        assert len(said) == SHOWN + bool(more) and more in said[-1]
        assert said[0].endswith(": 0a.png, 0b.png")


def test_nothing_is_less_than_nothing(edge: Built) -> None:
    images = tuple(replace(image, untypical=-0.001) for image in edge.manifest.images)
    listed = gallery.lines(replace(edge.manifest, images=images))
    assert len(listed) == len(images) + 2 and all(line.split()[0] == "0.00" for line in listed[1:-1])


def test_the_last_line_counts_included_images(edge: Built) -> None:
    assert f"{edge.path}: {len(edge.manifest.names)} good images, " in sentence(edge)
