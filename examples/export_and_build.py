"""Export a network and build a bundle from images of good parts.

    python export_and_build.py good_parts/ part.spade
    python export_and_build.py good_parts/ part.spade efficientnet_lite0

The third argument is the backbone (wide_resnet50_2). Needs the extras `export`, `galleries` and `cpu`.
"""

import sys
from pathlib import Path

from spade_edge import BuildOptions, SpadeError, build, export_model


def main(images: str, output: str, backbone: str = "wide_resnet50_2", weights: str = "imagenet") -> int:
    model = Path(output).with_suffix(".onnx")
    if not model.exists():  # one model serves all parts
        report = export_model(model, backbone=backbone, weights=weights)
        print(f"{report.path}: {report.card.backbone}, {report.size / 1e6:.0f} MB")
    built = build(Path(images), model=model, output=Path(output), options=BuildOptions(skip_bad=True))
    for complaint in built.skipped:
        print(f"skipped {complaint}")
    threshold = built.manifest.threshold
    print(f"{built.path}: {len(built.manifest.names)} images, threshold {threshold.score:.4g}: {threshold.sentence()}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 5):
        sys.exit("usage: export_and_build.py IMAGES BUNDLE [BACKBONE [WEIGHTS]]")
    try:
        sys.exit(main(*sys.argv[1:]))
    except SpadeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
