"""Use a camera of your own, an object with `read` and `close`, as a source: `python own_camera.py part.spade`.

Only the newest frame is scored; stalls are reported, and a stopped camera is opened again. Needs the extra `cpu`.
"""

import sys

import numpy as np

from spade_edge import DeviceError, Scorer, SourceOptions, SpadeError, open_source


class NoiseCamera:  # replace this with the driver of your camera
    def __init__(self):  # opens the camera; raises DeviceError if it is not there
        self.left = 5

    def read(self):  # waits for the next frame; raises DeviceError if the camera has stopped
        if not self.left:
            raise DeviceError("noise camera: stopped")
        self.left -= 1
        return np.random.default_rng(self.left).integers(0, 256, (96, 80, 3), np.uint8)  # (H, W, 3) uint8 BGR

    def close(self):
        pass


def main(bundle: str) -> int:
    scorer = Scorer.open(bundle)
    with open_source(NoiseCamera, options=SourceOptions(reopen=0)).acquire() as shots:  # reopen=math.inf on a line
        for shot in shots:
            print(shot.name, shot.fault if shot.frame is None else scorer(shot.frame).verdict, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except SpadeError as problem:
        sys.exit(str(problem))
