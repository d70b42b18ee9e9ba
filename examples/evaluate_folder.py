"""Evaluate a bundle on labelled images: DATASET/good, and one folder per type of defect.

    python evaluate_folder.py part.spade dataset/

Masks in DATASET/ground_truth/TYPE add pixel metrics. Needs the extras `cpu` and `camera`.
"""

import sys

from spade_edge import SpadeError, evaluate


def main(bundle: str, dataset: str) -> int:
    evaluation = evaluate(bundle, dataset)
    for name in ("image_auroc", "average_precision", "pixel_auroc", "aupro"):
        metric = getattr(evaluation, name)
        print(f"{name:18} {metric.reason if metric.value is None else f'{metric.value:.4f}'}")
    for row in evaluation.types:
        print(f"{row.truth:18} {row.images} images, {row.wrong.count} wrong")
    for image in evaluation.images:
        if image.wrong:
            print(f"wrong: {image.name}, score {image.score}, {image.verdict}: {image.reason}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: evaluate_folder.py BUNDLE DATASET")
    try:
        sys.exit(main(*sys.argv[1:]))
    except SpadeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
