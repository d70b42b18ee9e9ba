"""A channel is followed: what is done at each look, by a registry in a folder and a clock that stands."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from spade_edge.galleries import generations, set_threshold, undo
from spade_edge.runtime import SpadeError, UsageError
from spade_edge.tools.fleet.rollout import Rollout, Rules, pull, watch
from spade_edge.tools.fleet.rollout.watching import LONGEST
from spade_edge.tools.registry import Reference, promote

CHANNEL = Reference("bolt", tag="production")


def digest(bundle: Path) -> str:
    return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


class Following:
    """Follows the channel, and does a step of a test at each pause; ends after the last.

    Attributes:
        pauses: in seconds.
        told: the lines.
        pulls: what came of each pull.
        problem: with which a pull ends; None for none.
    """

    def __init__(
        self, plant: Any, device: Path, *, rules: Rules | None = None, every: float = 60.0, seed: int = 0
    ) -> None:
        self.plant, self.device, self.rules = plant, device, rules
        self.every, self.seed = every, seed
        self.pauses: list[float] = []
        self.told: list[str] = []
        self.pulls: list[Rollout] = []
        self.problem: SpadeError | None = None

    def through(self, *steps: Callable[[], object]) -> None:
        left = list(steps)

        def wait(seconds: float) -> bool:
            self.pauses.append(seconds)
            if not left:
                return True
            left.pop(0)()
            return False

        watch(
            self.plant.registry,
            CHANNEL,
            self.device,
            pulls=self._pull,
            every=self.every,
            wait=wait,
            tell=self.told.append,
            seed=self.seed,
        )

    def _pull(self) -> Rollout:
        if self.problem is not None:
            raise self.problem
        self.pulls.append(pull(self.plant.registry, CHANNEL, self.device, rules=self.rules))
        return self.pulls[-1]

    def in_force(self) -> str:
        """The version in force."""
        return {digest(bundle): tag for tag, bundle in self.plant.versions.items()}.get(digest(self.device), "another")


@pytest.fixture
def to(plant: Any) -> Callable[[str], Callable[[], object]]:
    """Moves the channel."""
    return lambda tag: lambda: promote(plant.registry, Reference("bolt", tag=tag), "production")


def nothing() -> None:
    pass


def test_it_pulls_when_the_channel_is_moved_and_only_then(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    to("lenient")()
    following, seen = Following(plant, device), []

    def look() -> None:
        seen.append((following.in_force(), len(following.pulls)))

    following.through(look, look, to("strict"), look, look, to("lenient"), look)
    assert seen == [("lenient", 1), ("lenient", 1), ("strict", 2), ("strict", 2), ("lenient", 3)]
    assert len(following.told) == 3 and all("is in force" in line for line in following.told)
    assert all(48 <= pause <= 72 for pause in following.pauses) and len(set(following.pauses)) > 1


def test_what_is_refused_is_not_tried_again_until_something_changes(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    to("lenient")()
    following = Following(plant, device, rules=Rules(deadline_ms=1e-9))
    following.through(nothing, nothing, to("strict"), nothing, nothing)
    assert [rollout.accepted for rollout in following.pulls] == [False, False]
    assert len(following.told) == 2 and following.in_force() == "first"
    following = Following(plant, device, rules=Rules(deadline_ms=1e-9))
    following.through(nothing, lambda: set_threshold(device, score=3.0, reason="by the foreman"), nothing)
    assert len(following.pulls) == 2


def test_what_people_at_the_device_have_undone_stays_so_until_the_channel_is_moved(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    to("lenient")()
    following = Following(plant, device)
    following.through(lambda: undo(device), nothing, nothing)
    assert following.in_force() == "first" and len(following.pulls) == 1
    assert following.told[1:] == [
        "bolt:production: people at this device have changed what was pulled; it stays so until it is moved"
    ]
    restarted = Following(plant, device)
    restarted.through(nothing, to("strict"), nothing)
    assert restarted.in_force() == "strict" and len(restarted.pulls) == 1
    to("lenient")()
    again = Following(plant, device)
    again.through(nothing)
    assert again.in_force() == "lenient" and [one.verb for one in generations(device)][-2:] == ["pull", "pull"]


def test_a_registry_that_is_down_is_told_once_and_asked_ever_less_often(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]], tmp_path: Path
) -> None:
    to("lenient")()
    gone = tmp_path / "gone"
    following = Following(plant, device)
    following.through(
        lambda: shutil.move(plant.address, gone),
        *[nothing] * 9,
        lambda: shutil.move(gone, plant.address),
        to("strict"),
        nothing,
    )
    down: Sequence[float] = following.pauses[1:11]
    for number, pause in enumerate(down):
        usual = min(60 * 2 ** (number + 1), LONGEST)
        assert 0.8 * usual <= pause <= 1.2 * usual
    assert following.pauses[11] <= 72
    assert [line for line in following.told if "expected a bundle that was pushed, found none" in line] == [
        following.told[1]
    ]
    assert len(following.told) == 3 and following.in_force() == "strict"


def test_a_channel_that_is_not_there_yet_is_waited_for(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    following = Following(plant, device)
    following.through(nothing, to("lenient"), nothing)
    assert following.in_force() == "lenient" and len(following.told) == 2


def test_a_bundle_that_is_being_changed_is_tried_again(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    from spade_edge.galleries.generation_log import changing

    to("lenient")()
    following = Following(plant, device)
    with changing(device):
        following.through(nothing)
    assert following.in_force() == "first" and "being changed" in following.told[0]
    following.through(nothing)
    assert following.in_force() == "lenient"


def test_what_is_wrong_for_a_while_only_does_not_end_it(
    plant: Any, device: Path, to: Callable[[str], Callable[[], object]]
) -> None:
    to("lenient")()
    following = Following(plant, device)

    def wrong() -> None:
        following.problem = UsageError("line.toml: expected a recipe, found none")
        to("strict")()

    def right() -> None:
        following.problem = None

    following.through(wrong, right, nothing)
    assert following.in_force() == "strict" and following.told[1] == "line.toml: expected a recipe, found none"


def test_what_can_never_be_right_ends_it(plant: Any, tmp_path: Path, to: Callable[[str], Callable[[], object]]) -> None:
    to("lenient")()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="expected a bundle or an empty folder"):
        Following(plant, tmp_path / "mine").through(nothing)
