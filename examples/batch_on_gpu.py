"""Score images in batches with the network on a GPU; without a GPU on the CPU, and say why.

    python batch_on_gpu.py part.spade images/

For a stream of frames use `Scorer.stream`: the network works on a frame while the previous one is matched. Needs the
extras `gpu` (or `cpu`) and `camera`.
"""

import sys
from itertools import islice
from pathlib import Path

from spade_edge import Scorer, SpadeError, open_source

BATCH = 8


def main(bundle: str, images: str) -> int:
    scorer = Scorer.open(bundle, providers="cuda", allow_fallback=True)
    print(f"the network runs on {scorer.session.provider}", *scorer.session.passed_over, sep="; ", file=sys.stderr)
    shots = (shot for shot in open_source(Path(images)) if shot.frame is not None)
    while batch := list(islice(shots, BATCH)):
        for shot, result in zip(batch, scorer.batch([shot.frame for shot in batch]), strict=True):
            print(f"{shot.name}: {result.verdict}, score {result.score:.4g}, {result.milliseconds['total']:.1f} ms")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: batch_on_gpu.py BUNDLE IMAGES")
    try:
        sys.exit(main(*sys.argv[1:]))
    except SpadeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
