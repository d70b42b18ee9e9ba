"""Score what a camera sees, frame by frame.

    python camera_loop.py part.spade 0
    python camera_loop.py part.spade line.mp4

The second argument is a camera number or a video file. Needs the extras `cpu` and `camera`.
"""

import sys

import cv2

from spade_edge import Scorer, SpadeError


def main(bundle: str, source: str) -> int:
    scorer = Scorer.open(bundle)  # on a GPU: providers="cuda", or "tensorrt" after 'spade-edge prepare'
    camera = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not camera.isOpened():
        print(f"{source}: expected a camera number or a video, found none that opens", file=sys.stderr)
        return 4
    while True:
        taken, frame = camera.read()  # (H, W, 3) uint8 BGR
        if not taken:  # a video ends, a camera should not
            return 4 if source.isdecimal() else 0
        result = scorer(frame)
        print(f"{result.verdict:7} score {result.score:8.2f} {result.milliseconds['total']:6.0f} ms", flush=True)
        for region in result.regions:
            print(f"        {region.width} x {region.height} pixels at ({region.x}, {region.y})", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: camera_loop.py BUNDLE CAMERA_OR_VIDEO")
    try:
        sys.exit(main(*sys.argv[1:]))
    except SpadeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
