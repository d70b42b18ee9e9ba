"""spade-edge: find defects on a production line from images of good parts only.

On the workstation, once:

    spade-edge export --output model.onnx
    spade-edge build --model model.onnx --images good_parts/ --output part.spade

On the line, for every frame, with nothing but numpy and onnxruntime installed:

    from spade_edge.runtime import Scorer

    scorer = Scorer.open("part.spade")
    result = scorer(frame)                  # frame: (H, W, 3) uint8 BGR, or (H, W) uint8 grey
    result.score, result.verdict            # 3.41, "good"

The method is SPADE (Cohen & Hoshen 2020, arXiv 2005.02357).
"""

import os

__version__ = "0.1.0"

# onnxruntime 1.29 and newer send usage data to their maker; a machine on a line sends nothing. It reads this when it is
# imported, so it is set here, before any module of ours imports it. Whoever wants the data sent sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
