"""Ways to build a bundle, each given as options of `spade-edge build`, and the scores of the bundles."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.conformal import Limit, limit, lowest_rate
from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime import Scorer
from spade_edge.runtime.result import CANNOT_JUDGE, GOOD, FrameResult
from spade_edge.tools.cli.main import main, parser

DEFAULT = "default"


@dataclass(frozen=True)
class Recipe:
    """A way to build a bundle.

    Attributes:
        options: of `spade-edge build`, as in a shell, beside the model and the folders: "--sigma 2"; empty for the
            defaults.

    Raises:
        SystemExit: the command has no such options; it has said so on stderr.
    """

    options: str = ""

    def __post_init__(self) -> None:
        parser().parse_args(self._arguments(Path("model"), Path("images"), Path("bundle")))  # before hours of work

    @property
    def name(self) -> str:
        return self.options or DEFAULT

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return re.sub("[^A-Za-z0-9.]+", "-", self.name).strip("-")

    def build(self, images: Path, *, model: Path, output: Path, threads: int | None = None) -> None:
        """Build by the command itself. What it prints goes to stderr.

        Raises:
            RuntimeError: the command failed.
        """
        arguments = self._arguments(model, images, output)
        with redirect_stdout(sys.stderr):
            code = main(arguments if threads is None else [*arguments, "--threads", str(threads)])
        if code:
            raise RuntimeError(f"expected exit code 0 of spade-edge {shlex.join(arguments)}, found {code}")

    def _arguments(self, model: Path, images: Path, output: Path) -> list[str]:
        given = ["--model", str(model), "--images", str(images), "--output", str(output)]
        return ["build", *given, *shlex.split(self.options)]


@dataclass(frozen=True)
class Judged:
    """The test images of a set, scored.

    Attributes:
        names: of the images, relative to the folder `test`.
        results: one for each.
        rejected: (2, N) bool, True where the frame is a defect or cannot be judged: at the threshold of the build, and
            at that of the lowest rate that the good images certify. A frame that cannot be judged at the former counts
            as rejected at both.
        promised: the rates of both, at most that many good frames rejected.
    """

    names: tuple[str, ...]
    results: tuple[FrameResult, ...]
    rejected: NDArray[np.bool_]
    promised: tuple[float, float]


def judged(scorer: Scorer, test: Path) -> Judged:
    """Score the images of a folder."""
    paths = find_images(test)
    scorer(read_image(paths[0]))  # the first is slower
    results = tuple(scorer(read_image(path)) for path in paths)
    strictest = lowest(scorer)
    verdicts = np.array([each.verdict for each in results])
    over = np.array([each.score > strictest.value for each in results])
    return Judged(
        names=tuple(path.relative_to(test).as_posix() for path in paths),
        results=results,
        rejected=np.stack([verdicts != GOOD, (verdicts == CANNOT_JUDGE) | over]),
        promised=(scorer.bundle.manifest.threshold.rate, strictest.rate),
    )


def lowest(scorer: Scorer) -> Limit:
    """The score threshold of the lowest false-reject rate that the good images certify."""
    evidence = scorer.bundle.manifest.evidence
    return limit(evidence, rate=lowest_rate(evidence.parts))
