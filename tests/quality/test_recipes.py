"""Options reach the build, and what is rejected follows from verdicts and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from quality.recipes import Recipe, judged

from spade_edge.runtime import Scorer
from spade_edge.runtime.result import CANNOT_JUDGE, GOOD


def test_options_reach_the_build_and_verdicts_become_rejects(
    tiny_model: Path, part: Callable[..., NDArray[np.uint8]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = {f"train/good/{i}": part(i) for i in range(24)} | {f"test/good/{i}": part(i) for i in range(24, 28)}
    frames |= {f"test/spot/{i}": part(i, flaw=True) for i in range(3)} | {
        "test/spot/tall": cv2.resize(part(3), (80, 200))
    }
    for name, frame in frames.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"{name}.npy", frame)
    bundle = tmp_path / "part.spade"
    Recipe("--sigma 2 --false-rejects 40%").build(tmp_path / "train/good", model=tiny_model, output=bundle, threads=1)
    assert capsys.readouterr().out == ""
    scorer = Scorer.open(bundle, threads=1)
    assert scorer.matcher.matching.sigma == 2
    found = judged(scorer, tmp_path / "test")
    assert found.names == tuple(sorted(f"{name[5:]}.npy" for name in frames if name.startswith("test")))
    manifest = scorer.bundle.manifest
    highest = max(manifest.evidence.scores)
    assert found.promised == (manifest.threshold.rate, pytest.approx(1 / (manifest.evidence.parts + 1)))
    assert manifest.threshold.score < highest
    for name, result, (now, strict) in zip(found.names, found.results, found.rejected.T, strict=True):
        refused = result.verdict == CANNOT_JUDGE
        assert refused == ("tall" in name) and not (refused and result.score > manifest.threshold.score)
        assert now == (result.verdict != GOOD) == (refused or result.score > manifest.threshold.score)
        assert strict == (refused or result.score > highest)


def test_names_and_options_that_do_not_exist() -> None:
    assert (Recipe().name, Recipe().folder) == ("default", "default")
    assert Recipe("--sigma 2 --views 64x64").folder == "sigma-2-views-64x64"
    with pytest.raises(SystemExit):
        Recipe("--sigmoid 2")
