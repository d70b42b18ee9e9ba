"""The page in a real Chromium, at the size of a phone and of a desk, light and dark: what a person sees and does."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chromium import PROGRAM
from desks import TOKEN, FakeDesk, served
from fake_line import until
from kept_parts import judged, keep, slightly_over
from numpy.typing import NDArray
from sample_decisions import configuration

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.tools.line.configuration.options import MESSAGE, RecipeOptions
from spade_edge.tools.line.decision import Inspection
from spade_edge.tools.line.page.changes import Changes
from spade_edge.tools.line.page.page import Page
from spade_edge.tools.line.state import TROUBLED, Health

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage
    from playwright.sync_api import Page as Tab

pytest.importorskip("playwright.sync_api", reason="expected playwright, found none: pip install 'spade-edge[dev]'")

Part = Callable[..., NDArray[np.uint8]]
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONG = 30_000  # milliseconds; no test waits so long unless something is wrong
HOSTILE = '<img src=x onerror="document.title=1">'
# Prints what the commands print, in the same form; tests/tools/line/page/test_page_changes.py runs the real ones.
COMMAND = """
import json, sys
verb = " ".join(sys.argv[1:3])
print("looking at it", file=sys.stderr)
kept = {"threshold": {"score": 2.5}, "former_threshold": 2.5, "selected": ["part"], "recent": None}
if verb == "gallery undo":
    kept = {"generation": 1, "threshold": 2.5, "former_threshold": 2.6}
if verb.startswith("threshold"):
    kept = {"score": 2.75}
if any("too far" in one for one in sys.argv):
    sys.exit("spade-edge: expected a score up to 3, found 9; add it with --even-so")
with open(LOG, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + chr(10))
print(json.dumps(kept))
"""


@dataclass
class Shown:
    """A page, somebody who looks at it, and what the browser has complained of."""

    tab: Tab
    page: Page
    desk: FakeDesk
    parts: list[Inspection]
    log: Path
    complaints: list[str]

    def commands(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("expected chromium or google-chrome, found neither: apt install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=LONG)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def frames(edge: Built, part: Part) -> list[NDArray[np.uint8]]:
    """A good part that is rejected, one that passes, and a defect."""
    return [slightly_over(edge.path, part), part(1), part(200, flaw=True)]


@pytest.fixture
def open_at(
    browser: Browser, tmp_path: Path, edge: Built, frames: list[NDArray[np.uint8]]
) -> Iterator[Callable[..., Shown]]:
    """Opens a line with two cameras, two products and a reject in the evidence, at a size and in a colour scheme."""
    bundle = Path(shutil.copytree(edge.path, tmp_path / "bolt.spade"))
    opened: list[Any] = []

    def open_page(size: str, scheme: str = "light", *, token: bool = True, news: str = "") -> Shown:
        keep(tmp_path / "evidence", bundle, frames)
        line = configuration()
        cameras = line.cameras | {"side": replace(line.cameras["side"], trigger=MESSAGE)}
        recipes = {"bolt": RecipeOptions(bundle=bundle), "nut": RecipeOptions(bundle=bundle)}
        desk = FakeDesk(
            # The heartbeat of a test comes once; it must not be missed.
            configuration=replace(line, line=replace(line.line, heartbeat_ms=60_000), cameras=cameras, recipes=recipes),
            bundles=dict.fromkeys(recipes, Bundle.open(bundle)),
        )
        threshold = desk.bundles["bolt"].manifest.threshold
        desk.now = replace(
            desk.now,
            at=time.time(),
            started=time.time() - 60,
            news=news,
            cameras=tuple(
                replace(
                    one,
                    threshold=threshold.score,
                    certificate=threshold.sentence(),
                    counts={"good": 12_345, "defect": 67, "cannot_judge": 8, "late": 1},
                    rejected=76,
                    p50=41.5,
                    p99=88.0,
                    longest=97.0,
                )
                for one in desk.now.cameras
            ),
        )
        log = tmp_path / "log"
        script = f"LOG = {str(log)!r}\n{COMMAND}"
        serving = served(
            tmp_path,
            desk,
            token=token,
            evidence=tmp_path / "evidence",
            changes=lambda: Changes(command=(sys.executable, "-c", script)),
        )
        page, call = serving.__enter__()
        page.beat(desk.now)
        parts = judged(bundle, frames)
        page.send(parts[1])
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        context.set_default_timeout(LONG)
        tab = context.new_page()
        shown = Shown(tab, page, desk, parts, log, [])

        def told(said: ConsoleMessage) -> None:
            if said.type in ("error", "warning"):
                shown.complaints.append(said.text)

        tab.on("console", told)
        tab.on("pageerror", lambda problem: shown.complaints.append(str(problem)))
        opened.append((serving, context))
        tab.goto(f"http://127.0.0.1:{call.port}/")
        tab.locator("[data-camera=top] .picture img").wait_for(state="visible")
        tab.locator("#rejects-list li").first.wait_for()
        return shown

    yield open_page
    for serving, context in opened:
        context.close()
        serving.__exit__(None, None, None)


def log_in(tab: Tab, token: str = TOKEN) -> None:
    tab.get_by_role("button", name="Log in to change").click()
    tab.get_by_label("Token").fill(token)
    tab.get_by_role("button", name="Log in", exact=True).click()


LOOK = """() => {
  const width = document.documentElement.clientWidth;
  const seen = [...document.body.querySelectorAll("*")].filter((one) => one.checkVisibility() && !one.closest("svg"));
  const boxes = seen.map((one) => [one, one.getBoundingClientRect()]).filter(([one, box]) => box.width > 1);
  const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const written = (one) => [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const faint = seen.filter(written).map((one) => {
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.className + ": " + one.textContent.slice(0, 40)];
  });
  return {
    scroll: document.documentElement.scrollWidth - width,
    outside: boxes.filter(([one, box]) => box.right > width + 1 || box.left < -1).map(([one]) => one.className),
    cut: seen.filter((one) => one.children.length === 0 && one.scrollWidth > one.clientWidth + 2 && one.clientWidth > 0
      && getComputedStyle(one).display !== "inline").map((one) => one.className + ": " + one.textContent),
    small: boxes.filter(([one, box]) => one.matches("button, input") && box.height < 18).map(([one]) => one.id),
    unnamed: seen.filter((one) => one.matches("button, input, img")).filter((one) => !(one.textContent.trim() || one.alt
      || one.labels?.length || one.getAttribute("aria-label"))).map((one) => one.outerHTML.slice(0, 80)),
    faint: faint.filter(([ratio]) => ratio < 4.5).map(([ratio, words]) => `${ratio.toFixed(1)} ${words}`),
    background: getComputedStyle(document.body).backgroundColor,
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_all_fits_and_can_be_read(open_at: Callable[..., Shown], size: str, scheme: str) -> None:
    shown = open_at(size, scheme, news=f"line.toml was refused {HOSTILE}")
    # Asked from here: what Playwright repeats within the page is forbidden there by the page's own security policy.
    until(lambda: shown.tab.evaluate("[...document.images].every((one) => one.complete)"))  # also those of rejects
    look = shown.tab.evaluate(LOOK)
    background = [int(value) for value in re.findall(r"\d+", look.pop("background"))]
    assert look == {"scroll": 0, "outside": [], "cut": [], "small": [], "unnamed": [], "faint": []}
    assert (sum(background) > 600) == (scheme == "light")
    assert shown.tab.title() == "press-3" and shown.tab.get_by_text(HOSTILE).count() == 1
    log_in(shown.tab)
    shown.tab.locator("[data-camera=top] .set-threshold").wait_for(state="visible")
    look = shown.tab.evaluate(LOOK)
    assert look["scroll"] == 0 and look["outside"] == look["cut"] == look["faint"] == []
    for opening, dialog in ((".set-threshold", "#threshold"), (".undo", "#undoing"), (".choose-product", "#product")):
        shown.tab.locator(f"[data-camera=top] {opening}").click()
        shown.tab.locator(dialog).wait_for(state="visible")
        look = shown.tab.evaluate(LOOK)
        assert look["scroll"] == 0 and look["outside"] == look["cut"] == look["unnamed"] == []
        shown.tab.keyboard.press("Escape")
        shown.tab.locator(dialog).wait_for(state="hidden")
    assert shown.complaints == []


def test_verdict_and_picture_are_those_of_one_part(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("desktop")
    card = shown.tab.locator("[data-camera=top]")
    expect(card.locator(".word")).to_have_text("GOOD")
    shown.page.send(shown.parts[2])
    expect(card.locator(".word")).to_have_text("DEFECT", timeout=LONG)
    expect(card.locator(".picture img")).to_have_attribute("alt", "Part part 3 at camera top")
    expect(card.locator(".gate")).to_have_text("Gate: reject")
    size = float(card.locator(".word").evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)"))
    assert size >= 40
    shown.page.send(
        replace(shown.parts[2], frame=None, result=None, decision=replace(shown.parts[2].decision, verdict="late"))
    )
    expect(card.locator(".word")).to_have_text("LATE", timeout=LONG)
    expect(card.locator(".picture img")).to_be_hidden()
    assert shown.complaints == []


def test_an_old_picture_is_never_taken_for_a_live_one(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("desktop")
    tab = shown.tab
    expect(tab.locator("#alarm")).to_be_hidden()
    picture = tab.locator("[data-camera=top] .picture img")
    tab.route("**/line", lambda route: route.abort())
    expect(tab.locator("#alarm")).to_contain_text("What you see is old", timeout=LONG)
    assert "grayscale" in picture.evaluate("(one) => getComputedStyle(one).filter")
    expect(tab.locator("[data-camera=top] .old")).to_be_visible()
    tab.unroute("**/line")
    expect(tab.locator("#alarm")).to_be_hidden(timeout=LONG)
    expect(tab.locator("[data-camera=top] .old")).to_be_hidden()
    # The line answers, but newer pictures do not come.
    tab.route("**/picture?camera=top*", lambda route: route.abort())
    shown.page.send(shown.parts[2])
    expect(tab.locator("[data-camera=top] .old")).to_be_visible(timeout=LONG)
    expect(tab.locator("[data-camera=top] .word")).to_have_text("GOOD")
    tab.unroute("**/picture?camera=top*")
    expect(tab.locator("[data-camera=top] .word")).to_have_text("DEFECT", timeout=LONG)
    expect(tab.locator("[data-camera=top] .old")).to_be_hidden()


def test_what_is_wrong_is_at_the_top(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("phone")
    expect(shown.tab.locator("#summary")).to_have_text("All is well")
    top, side = shown.desk.now.cameras
    shown.desk.now = replace(
        shown.desk.now, cameras=(top, replace(side, health=Health(TROUBLED, "it is unplugged", 0)))
    )
    first = shown.tab.locator("#troubles li").first
    expect(first).to_have_text("Camera side has a fault: it is unplugged.", timeout=LONG)
    assert first.bounding_box()["y"] < 200  # type: ignore[index]
    expect(shown.tab).to_have_title(re.compile("^⚠"))


def test_without_a_token_there_are_no_buttons(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("phone", token=False)
    for name in ("Log in to change", "Threshold", "Product", "Undo", "Trigger"):
        assert shown.tab.get_by_role("button", name=name, exact=True).count() == 0
    shown.tab.locator("#rejects-list button").last.click()
    expect(shown.tab.locator("#part")).to_be_visible()
    expect(shown.tab.locator("#preview")).to_be_hidden()


def test_a_wrong_token_is_told_and_the_right_one_opens(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("phone")
    log_in(shown.tab, "wrong")
    expect(shown.tab.locator("#login .problem")).to_have_text("This is not the token.")
    shown.tab.get_by_label("Token").fill(TOKEN)
    shown.tab.keyboard.press("Enter")
    expect(shown.tab.locator("#log-out")).to_be_visible()
    assert TOKEN not in shown.tab.content() and not shown.tab.context.cookies()[0]["value"].startswith(TOKEN)
    assert shown.tab.evaluate("document.cookie") == ""
    shown.tab.reload()
    shown.tab.locator("#log-out").click()
    expect(shown.tab.locator("#log-in")).to_be_visible()


def test_a_reject_is_taught_in_after_its_preview(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("desktop")
    log_in(shown.tab)
    shown.tab.locator("#log-out").wait_for(state="visible")
    shown.tab.get_by_role("button", name=re.compile("Part part 1 ")).click()
    part = shown.tab.locator("#part")
    expect(part.locator("#part-picture")).to_be_visible()
    expect(part.locator("#teach")).to_be_hidden()
    part.get_by_label("Why it is good").fill("too far")
    part.locator("#preview").click()
    expect(part.locator(".problem")).to_contain_text("Expected a score up to 3", timeout=LONG)
    expect(part.locator("#teach")).to_be_hidden()
    part.get_by_label("Why it is good").fill("glare")
    part.locator("#preview").click()
    expect(part.locator(".said")).to_contain_text("The threshold stays at 2.5", timeout=LONG)
    assert all("--dry-run" in one for one in shown.commands())
    expect(part.locator("#teach")).to_be_focused()
    shown.tab.keyboard.press("Enter")
    expect(part.locator(".outcome")).to_contain_text("Taught in", timeout=LONG)
    last = shown.commands()[-1]
    assert last[:2] == ["gallery", "add"] and "--dry-run" not in last and "--reason=glare" in last
    assert "--who=page" in last and last[-1].endswith("_top_1.png")
    assert shown.complaints == []


def test_the_threshold_is_moved_with_the_keyboard(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    shown = open_at("phone")
    log_in(shown.tab)
    shown.tab.locator("[data-camera=top] .set-threshold").click()
    slider = shown.tab.locator("#stop")
    expect(shown.tab.locator("#stop-force")).to_have_text("(in force)")
    expect(shown.tab.get_by_role("button", name="Set this threshold")).to_be_disabled()
    before = shown.tab.locator("#stop-words").inner_text()
    slider.focus()
    at_end = slider.input_value() == slider.get_attribute("max")
    shown.tab.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    words = shown.tab.locator("#stop-words").inner_text()
    assert words != before and re.fullmatch(r"(At most|About) \d+ of 1,000 good parts rejected\.", words)
    expect(shown.tab.locator("#stop-changes")).to_contain_text("Of the last")
    shown.tab.get_by_role("button", name="Set this threshold").click()
    expect(shown.tab.locator("#threshold .outcome")).to_contain_text("Set to", timeout=LONG)
    assert shown.commands()[-1][0] == "threshold" and shown.complaints == []


def test_undo_product_and_trigger(open_at: Callable[..., Shown]) -> None:
    from playwright.sync_api import expect

    from spade_edge.galleries import set_threshold

    shown = open_at("desktop")
    set_threshold(shown.desk.configuration.recipes["bolt"].bundle, score=2.6, reason="by hand")
    log_in(shown.tab)
    shown.tab.locator("[data-camera=top] .undo").click()
    expect(shown.tab.locator("#undo-words")).to_contain_text("In force is generation 2: threshold")
    shown.tab.get_by_role("button", name="Take it back").click()
    expect(shown.tab.locator("#undoing .outcome")).to_contain_text("Generation 1 is in force", timeout=LONG)
    assert shown.commands()[-1][:2] == ["gallery", "undo"]
    shown.tab.keyboard.press("Escape")
    shown.tab.locator("[data-camera=side] .choose-product").click()
    shown.tab.get_by_label("nut").check()
    shown.tab.get_by_role("button", name="Choose").click()
    expect(shown.tab.locator("#product")).to_be_hidden()
    expect(shown.tab.locator("[data-camera=top] .trigger")).to_be_hidden()
    shown.tab.locator("[data-camera=side] .trigger").click()
    expect(shown.tab.locator("[data-camera=side] .trigger")).to_contain_text("Triggered")
    assert shown.desk.asked == [("choose", "side", "nut"), ("trigger", "side")]
    assert shown.complaints == []


def test_a_session_that_has_ended_is_told(open_at: Callable[..., Shown], tmp_path: Path) -> None:
    from playwright.sync_api import expect

    shown = open_at("phone")
    log_in(shown.tab)
    shown.tab.locator("[data-camera=top] .choose-product").click()
    (tmp_path / "token").write_text("another\n", encoding="utf-8")
    shown.tab.get_by_label("nut").check()
    shown.tab.get_by_role("button", name="Choose").click()
    expect(shown.tab.locator("#product .problem")).to_contain_text("Log in first")
    assert shown.desk.asked == []
