"""The review of the good images: the least typical first, each with its map, and the command that excludes them."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import DESKTOP, PHONE, Chromium
from conftest import VIEWS
from evaluations import words
from numpy.typing import NDArray
from pages import HOSTILE, Page

from spade_edge.galleries import Built
from spade_edge.galleries.exclusion import exclude
from spade_edge.galleries.images import read_image
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.errors import BundleError, DataError
from spade_edge.runtime.preprocessing.condition import Condition, odd_images
from spade_edge.tools.drawing.overlay import UNSEEN, colour, figure
from spade_edge.tools.report import review
from spade_edge.tools.report.good_set import GoodSet
from spade_edge.tools.report.review import write_review

SCORES = (1.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 6.0)  # of the eight images; two of them are worth a look
UNTYPICAL = (-0.5, 0.1, 0.2, 1.5, 2.5, 0.3, 0.4, 0.9)
USUAL = Condition.of(np.random.default_rng(0).uniform(60, 200, (1, 32, 32, 3)).astype(np.float32))


def quiet(items: Any, label: str) -> Any:
    """No progress."""
    return items


def scored(
    image: GoodImage, number: int, *, name: str = "", score: float | None = None, untypical: float | None = None
) -> GoodImage:
    """A good image with the figures above, or others, so that its place on the page is known."""
    unusual = UNTYPICAL[number] if untypical is None else untypical
    return replace(
        image,
        name=name or f"{number}.npy",
        group=number,
        score=SCORES[number] if score is None else score,
        map_maximum=10 * SCORES[number],
        untypical=unusual,
        remark="differs most at the top" if unusual > 1 else "",
        condition=USUAL,
    )


def certified(threshold: Threshold, images: tuple[GoodImage, ...]) -> Threshold:
    """The threshold that is the largest score of these images."""
    parts = len({image.group for image in images})
    return replace(
        threshold,
        score=max(image.score for image in images),
        pixel=max(image.map_maximum or 0.0 for image in images),
        parts=parts,
        basis="certified",
        source="images",
        rate=1 / (parts + 1),
    )


def altered(
    built: Built, tmp_path: Path, change: Callable[[GoodImage, int], GoodImage] = scored, *, name: str = "part.spade"
) -> Path:
    """A copy of a bundle whose good images are described by hand."""
    path = tmp_path / name
    shutil.copytree(built.path, path)
    manifest = Manifest.read(path)
    images = tuple(change(image, number) for number, image in enumerate(manifest.images))
    changed = replace(manifest, images=images, threshold=certified(manifest.threshold, images), golden=())
    (path / FILE).write_text(
        replace(changed, files={role: manifest.files[role] for role in changed.roles()}).to_text(), encoding="utf-8"
    )
    return path


def page_of(bundle: Path, tmp_path: Path, **options: Any) -> tuple[str, Page]:
    path = write_review(tmp_path / "review", bundle, threads=1, progress=quiet, **options)
    assert path == tmp_path / "review" / "index.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def sections(text: str) -> dict[str, Page]:
    """The sections of a page by their anchor."""
    return {
        name: Page(body)
        for name, body in re.findall(r'<section aria-labelledby="(\w+)">(.*?)</section>', text, flags=re.DOTALL)
    }


def pictures(page: Page, beginning: str) -> dict[str, NDArray[np.uint8]]:
    """The images whose alternative begins so, by the rest of it, as (H, W, 3) BGR."""
    found = {}
    for one in page.all("img"):
        if one["alt"].startswith(beginning):
            data = base64.b64decode(one["src"].partition("base64,")[2], validate=True)
            picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
            assert picture.shape[:2] == (int(one["height"]), int(one["width"]))
            found[one["alt"].removeprefix(beginning)] = picture
    return found


def command(page: Page) -> list[str]:
    """The words of the command after `spade-edge`, as a shell reads them."""
    (said,) = [text for text in page.text_in("code") if "exclude" in text]
    assert said.startswith("spade-edge ")
    printing = ["sh", "-c", said.replace("spade-edge", r"printf '%s\0'", 1)]
    return subprocess.run(printing, capture_output=True, check=True).stdout.decode().split("\0")[:-1]


def test_the_least_typical_images_come_first_and_the_top_says_what_to_look_at(edge: Built, tmp_path: Path) -> None:
    bundle = altered(edge, tmp_path)
    text, page = page_of(bundle, tmp_path)
    assert [found.replace("\xa0", " ") for found in page.text_in("h1")] == ["2 of 8 good images are worth a look."]
    parts = sections(text)
    assert parts["look"].text_in("h3") == ["4.npy", "3.npy"]
    assert parts["compared"].text_in("h3") == ["7.npy", "6.npy", "5.npy", "2.npy", "1.npy", "0.npy"]
    said = words(page)
    assert "Look at the first 2 images: 4.npy , 3.npy ." in said
    links = {link["href"] for link in page.all("a")}
    assert links == {"#image-4", "#image-3"}
    assert {f"#{one['id']}" for one in page.all("article")} >= links
    assert "8 good images of 8 parts, none excluded." in said
    assert "Cells are matched at any place, as asked for." in said
    assert "Threshold 9: at most 11.11% of good frames rejected, certified by 8 different parts" in said
    assert said.count("Differs most at the top.") == 2 and "-0.00" not in said
    assert "Untypical 2.50" in said
    assert "rest" not in parts


def test_the_image_that_decides_is_named_and_what_the_threshold_would_be_without_it(
    edge: Built, tmp_path: Path
) -> None:
    text, page = page_of(altered(edge, tmp_path), tmp_path)
    said = words(page)
    # The largest of eight scores is 9, of the other seven 8, of the six that are not worth a look 6.
    assert "The threshold, 9, is the score of 4.npy alone: without this image it would be about 8." in said
    assert "Without the 2 images that are worth a look, the threshold would be about 6." in said
    (card,) = re.findall(r'<article id="image-\d+"(?:(?!</article>).)*sets the threshold.*?</article>', text, re.DOTALL)
    assert "<h3>4.npy</h3>" in card

    def alone(image: GoodImage, number: int) -> GoodImage:
        return scored(image, number, untypical=2.5 if number == 4 else 0.5)

    other = tmp_path / "other"
    _, page = page_of(altered(edge, other, alone), other)
    assert "without this image it would be about 8." in words(page)
    assert words(page).count("would be about") == 1  # it is the same image


def test_a_gallery_in_which_nothing_stands_out_says_so(edge: Built, tmp_path: Path) -> None:
    text, page = page_of(altered(edge, tmp_path, lambda i, n: scored(i, n, untypical=UNTYPICAL[n] / 3)), tmp_path)
    assert [found.replace("\xa0", " ") for found in page.text_in("h1")] == ["None of 8 good images stands out."]
    assert "look" not in sections(text)
    assert sections(text)["compared"].text_in("h3")[:2] == ["4.npy", "3.npy"]
    assert command(page)[-1] == "NAME"


def test_the_command_excludes_what_the_page_suggests_and_survives_every_name(edge: Built, tmp_path: Path) -> None:
    names = {3: '-rf it\'s $HOME `id` "x".png', 4: "sub folder/ä;#&<b>.png"}
    bundle = altered(edge, tmp_path, lambda i, n: scored(i, n, name=names.get(n, "")), name="a 'bundle'.spade")
    _, page = page_of(bundle, tmp_path)
    start = ["gallery", "exclude", "--bundle", str(bundle), "--reason", "…", "--"]
    assert command(page) == [*start, names[4], names[3]]
    many = tmp_path / "many"
    bundle = altered(edge, many, lambda i, n: scored(i, n, untypical=2.0 if n else 0.0))
    text, page = page_of(bundle, many)
    assert command(page)[6:] == [f"{n}.npy" for n in range(1, 8)]
    assert text.count(" \\\n  ") == 7  # one name a line
    assert "is for a person to decide" in words(page)
    assert "rare but acceptable part should stay" in words(page)


def test_hostile_names_are_shown_and_do_nothing(edge: Built, tmp_path: Path) -> None:
    name = HOSTILE.replace("\udc80", "").replace("\x00", "")  # no text of a manifest may have them
    bundle = altered(
        edge,
        tmp_path,
        lambda i, n: replace(scored(i, n, name=name if n == 4 else f"{n}" + "W" * 250), remark=name[:40]),
    )
    text, page = page_of(bundle, tmp_path)
    assert page.loads() == []
    assert not page.all("script")
    assert "\x00" not in text
    assert "\u202e" not in text
    assert not re.search(r"https?:(?!//evil)|url\(|@import", text)
    assert page.text_in("h3")[0].startswith("\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\\u202e")
    assert all(one["alt"] for one in page.all("img"))
    assert all(one.get("role") == "img" and one.get("aria-label") for one in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    style = text[text.index("<style>") : text.index("</style>")]
    assert set(re.findall(r"var\((--\w+)\)", style)) == set(re.findall(r"(--\w+):", style))


def test_excluded_images_are_marked_with_their_reason_and_not_suggested_again(edge: Built, tmp_path: Path) -> None:
    bundle = tmp_path / "part.spade"
    shutil.copytree(edge.path, bundle)
    exclude(bundle, ["2.npy"], reason="a <scratch>", threads=1)
    text, page = page_of(bundle, tmp_path)
    parts = sections(text)
    assert parts["excluded"].text_in("h3") == ["2.npy"]
    assert parts["excluded"].text_in("span") == ["excluded"]
    exclusion = Manifest.read(bundle).images[2].exclusion
    assert exclusion is not None
    assert f"Excluded on {exclusion.set[:10]}: a <scratch>." in words(parts["excluded"])
    assert pictures(parts["excluded"], "Anomaly map over 2.npy")
    assert "7 good images of 7 parts, 1 excluded." in words(page)
    assert "2.npy" not in command(page)
    assert "2.npy" not in [name for key, one in parts.items() if key != "excluded" for name in one.text_in("h3")]


def test_images_of_the_same_part_are_named(edge: Built, tmp_path: Path) -> None:
    bundle = altered(edge, tmp_path, lambda i, n: replace(scored(i, n), group=2 if 2 <= n < 7 else n))
    text, page = page_of(bundle, tmp_path)
    assert "8 good images of 4 parts" in words(page)
    cards = dict(re.findall(r'<article id="image-(\d)"(.*?)</article>', text, re.DOTALL))
    assert "Shows the same part as 2.npy, 3.npy, 5.npy and 1 more." in cards["4"]
    assert "same part" not in cards["7"]
    for number, card in cards.items():
        assert card.count("<img") == 2, number


def test_images_that_would_stretch_the_limits_are_worth_a_look(edge: Built, tmp_path: Path) -> None:
    conditions = [replace(USUAL, brightness=20.0, darkest=20.0) if number == 6 else USUAL for number in range(8)]
    (odd,) = odd_images(conditions)

    def as_built(image: GoodImage, number: int) -> GoodImage:
        own = replace(scored(image, number), condition=conditions[number])
        return replace(own, untypical=1.01, remark=f"{odd.reason}; differs most") if number == 6 else own

    bundle = altered(edge, tmp_path, as_built)
    text, page = page_of(bundle, tmp_path)
    assert sections(text)["look"].text_in("h3") == ["4.npy", "3.npy", "6.npy"]
    assert odd.number == 6
    assert odd.reason[1:] in words(page)
    assert command(page)[-1] == "6.npy"
    assert words(page).count(odd.reason[1:]) == 1  # said once


def peaks(page: Page) -> dict[str, str]:
    """The largest value of each map, as the page says it."""
    found = [re.fullmatch(r"Anomaly map over (.*): largest value (.*), .*", one["alt"]) for one in page.all("img")]
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize("kind", ["edge", *VIEWS])
def test_the_maps_are_those_that_the_build_made(
    edge: Built, with_views: Callable[[str], Built], tmp_path: Path, kind: str
) -> None:
    built = edge if kind == "edge" else with_views(kind)
    bundle = tmp_path / "part.spade"
    shutil.copytree(built.path, bundle)
    manifest = Manifest.read(bundle)
    images = tuple(replace(image, untypical=0.5, remark="", condition=USUAL) for image in manifest.images)
    (bundle / FILE).write_text(replace(manifest, images=images).to_text(), encoding="utf-8")
    _, page = page_of(bundle, tmp_path)
    found = peaks(page)
    assert len(found) == min(len(images), 8)
    for image in images:
        if image.map_maximum is not None:
            assert found[image.name] == figure(image.map_maximum)
    plain = pictures(page, "Good image ")
    for name, mapped in pictures(page, "Anomaly map over ").items():
        assert mapped.shape == plain[name.partition(":")[0]].shape


def test_what_a_mask_leaves_out_is_darkened(
    with_views: Callable[[str], Built], textures: Path, looked_at: NDArray[np.bool_], tmp_path: Path
) -> None:
    _, page = page_of(with_views("masked").path, tmp_path, images=textures)
    plain = pictures(page, "Good image ")
    for name, mapped in pictures(page, "Anomaly map over ").items():
        brightness = mapped / np.maximum(plain[name.partition(":")[0]].astype(float), 1)
        for out in (np.s_[:, 0:5], np.s_[26:35, 41:50]):  # no view covers the clamp; the disc lies inside of views
            assert np.median(brightness[out]) == pytest.approx(UNSEEN, abs=0.05)
        assert np.median(brightness[looked_at]) > 0.7


def test_images_worth_a_look_do_not_hide_each_other(edge: Built, tmp_path: Path) -> None:
    def twins(image: GoodImage, number: int) -> GoodImage:
        return scored(image, number, untypical=2.0 if number in (3, 5) else 0.1)

    good = GoodSet.of(Manifest.read(altered(edge, tmp_path, twins)))
    assert good.allowed(3).tolist() == [True, True, True, False, True, False, True, True]
    assert good.allowed(0).tolist() == [False, True, True, False, True, False, True, True]
    manifest = good.manifest
    everything = replace(manifest, images=tuple(replace(image, untypical=2.0) for image in manifest.images))
    assert GoodSet.of(everything).allowed(0).tolist() == [False] + 7 * [True]  # otherwise nothing would be left


def test_the_colours_are_not_those_of_a_threshold_that_the_suspects_have_raised(edge: Built, tmp_path: Path) -> None:
    def huge(image: GoodImage, number: int) -> GoodImage:
        least = min(one.map_maximum or 0 for one in edge.manifest.images)
        return replace(scored(image, number), map_maximum=1e9 if number == 4 else least / 5)

    text, page = page_of(altered(edge, tmp_path, huge), tmp_path)
    limit = min(one.map_maximum or 0 for one in edge.manifest.images) / 5
    said = words(page)
    assert f"The pixel threshold of these pictures is {figure(limit)}" in said
    assert "That of the bundle is 1e+09." in said
    top = colour(np.array([[5 * limit]]), threshold=limit)[0, 0].astype(float)
    hot = next(iter(pictures(sections(text)["look"], "Anomaly map over 4.npy").values())).astype(float)
    assert np.abs(hot - top).max(axis=2).min() < 120


def test_pictures_come_from_the_image_files_if_they_are_given(edge: Built, good_images: Path, tmp_path: Path) -> None:
    _, plain = page_of(edge.path, tmp_path)
    shown = pictures(plain, "Good image ")
    assert shown["1.npy"].shape == (320, 320, 3)  # the thumbnail is square
    folder = tmp_path / "images"
    shutil.copytree(good_images, folder)
    (folder / "0.npy").unlink()
    (folder / "1.npy").write_bytes(b"damaged")
    _, sharp = page_of(edge.path, tmp_path, images=folder)
    shown = pictures(sharp, "Good image ")
    said = words(sharp)
    assert "2 images could not be found or read in the folder of the good images" in said
    for name in edge.manifest.names:
        if name in ("0.npy", "1.npy"):
            assert shown[name].shape == (320, 320, 3)
            continue
        frame = read_image(folder / name)
        assert shown[name].shape[:2] == frame.shape[:2], name
        colours = np.broadcast_to(frame[..., None] if frame.ndim == 2 else frame, shown[name].shape)
        assert np.abs(shown[name].astype(int) - colours).mean() < 8, name
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="found none of its good images"):
        page_of(edge.path, tmp_path, images=empty)


def test_slow_maps_are_few_and_large_galleries_fit(
    edge: Built, paper: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, page = page_of(paper.path, tmp_path)
    assert len(pictures(page, "Anomaly map")) == 6
    monkeypatch.setattr(review, "SLOW_CARDS", 3)
    bundle = altered(paper, tmp_path, lambda i, n: scored(i, n, untypical=1.0 + n))
    text, page = page_of(bundle, tmp_path)
    assert sections(text)["look"].text_in("h3") == [f"{n}.npy" for n in range(7, 0, -1)]
    assert len(pictures(page, "Anomaly map")) == 3
    assert words(page).count("No map: each takes long in this bundle.") == 5

    monkeypatch.setattr(review, "CARDS", 2)
    monkeypatch.setattr(review, "COMPARED", 1)
    monkeypatch.setattr(review, "MOST_CARDS", 2)
    monkeypatch.setattr(review, "MOST_SMALL", 2)
    text, page = page_of(altered(edge, tmp_path / "large"), tmp_path)
    parts = sections(text)
    assert parts["look"].text_in("h3") == ["4.npy"]
    assert "1 more image would make this page too large." in words(parts["look"])
    assert parts["compared"].text_in("h3") == ["7.npy"]
    assert parts["rest"].text_in("h2") == ["The other 5 images"]
    assert list(pictures(parts["rest"], "Good image ")) == ["6.npy", "5.npy"]
    assert "3 more images" in words(parts["rest"])
    assert command(page)[-2:] == ["4.npy", "3.npy"]


def test_every_score_has_a_dot_on_its_side_of_the_threshold(
    edge: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, page = page_of(altered(edge, tmp_path), tmp_path)
    limit = next(float(line["x1"].rstrip("%")) for line in page.all("line") if line["class"] == "limit")
    kinds = [(dot["class"], float(dot["cx"].rstrip("%"))) for dot in page.all("circle")]
    assert sorted(kind for kind, _ in kinds) == 2 * ["dot defect"] + 6 * ["dot good"]
    assert max(place for _, place in kinds) == limit
    assert "4.npy: 9" in page.text_in("title")
    monkeypatch.setattr(review, "MOST_DOTS", 7)
    _, page = page_of(tmp_path / "part.spade", tmp_path)
    assert not page.all("circle")
    assert "Number of images" in words(page)


def test_what_is_no_bundle_is_refused_before_a_page_is_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="manifest"):
        page_of(tmp_path / "nothing", tmp_path)
    assert not (tmp_path / "review").exists()


def test_a_browser_shows_the_page_on_a_phone_and_a_desk_and_paper(
    edge: Built, with_views: Callable[[str], Built], tmp_path: Path, browser: Chromium
) -> None:
    long = altered(edge, tmp_path, lambda i, n: scored(i, n, name=f"{n}" + "W" * 240 + ".npy"))
    for place, bundle in enumerate((long, with_views("masked").path)):
        path = write_review(tmp_path / str(place), bundle, threads=1, progress=quiet)
        images = len(Page(path.read_text(encoding="utf-8")).all("img"))
        grounds = set()
        for width, media in ((PHONE, "screen"), (DESKTOP, "screen"), (718, "print")):
            for scheme in ("light", "dark"):
                look = browser.look(path, width=width, scheme=scheme, media=media)
                assert look.page["scroll"] <= width
                assert look.page["outside"] == []
                assert (look.page["images"], look.page["broken"]) == (images, 0)
                assert look.requests == look.complaints == []
                grounds.add((media, scheme, look.page["background"]))
        assert len({ground for media, _, ground in grounds if media == "screen"}) == 2
        assert browser.printed().startswith(b"%PDF")
