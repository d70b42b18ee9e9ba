"""Score the views that `run.py --views` wrote with anomalib's PatchCore.

anomalib is not a dependency of this project. Install it manually in an environment of its own, where nothing of
spade-edge is needed:

    python3.11 -m venv peer/venv
    peer/venv/bin/pip install torch==2.14.1 torchvision==0.29.1 anomalib==2.7.0
    .venv/bin/python tests/quality/run.py --data SETS --views peer/views
    peer/venv/bin/python tests/quality/peer.py --views peer/views --weights WEIGHTS --output peer/scores
    .venv/bin/python tests/quality/run.py --data SETS --peer peer/scores

`PatchcoreModel` is used with its defaults: layers 2 and 3, a coreset of a tenth, 9 neighbours. Lightning's engine
around it is not, so that the views, the weights and the raw scores are ours: the model gets views of 224x224 in RGB
with ImageNet's mean and deviation instead of frames that anomalib resizes to 256x256, the weights of `--weights`
instead of downloaded ones, and nothing is normalised or clipped afterwards. One step of the coreset's selection is
replaced by the same arithmetic a few rows at a time, as it took over 24 GB on 40 images.

Writes an .npz a set with `names`, `scores` (N,) float32, `maps` (N, 224, 224) float32, `milliseconds` (N,) of each
frame, and `about`, a JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import anomalib
import numpy as np
import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.patchcore import torch_model
from anomalib.models.image.patchcore.torch_model import PatchcoreModel

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, RGB
LAYERS, CORESET, NEIGHBOURS = ("layer2", "layer3"), 0.1, 9  # anomalib's defaults
ROWS = 4096  # of the coreset's features that are looked at together


def fresh_model(weights: Path) -> PatchcoreModel:
    """PatchCore without a memory, with weights from a file.

    Raises:
        ValueError: the file lacks a tensor of the layers that are used, or holds one that they do not have.
    """
    model = PatchcoreModel(layers=LAYERS, backbone="wide_resnet50_2", pre_trained=False, num_neighbors=NEIGHBOURS)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network = model.feature_extractor.feature_extractor
    result = network.load_state_dict(state, strict=False)
    missing = [name for name in result.missing_keys if not name.endswith("num_batches_tracked")]
    foreign = [name for name in result.unexpected_keys if not name.startswith(("layer4.", "fc."))]
    if missing or foreign:
        raise ValueError(f"{weights}: expected the network's tensors, missing {missing}, not known {foreign}")
    return model


def normalised(views: np.ndarray) -> torch.Tensor:
    """(N, h, w, 3) float32 BGR, 0 to 255 -> (N, 3, h, w) float32 RGB as ImageNet's networks want it."""
    rgb = torch.from_numpy(np.ascontiguousarray(views[..., ::-1])).permute(0, 3, 1, 2) / 255
    return (rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


class Selection(KCenterGreedy):
    """The coreset's selection, bit by bit the same, in memory that is used again.

    anomalib makes a difference as large as all features for every choice. glibc leaves holes where those were: on 40
    images that grew past 24 GB.
    """

    def update_distances(self, cluster_center: torch.Tensor) -> None:
        """Take the distances to a new centre into account."""
        centre = self.features[cluster_center]
        if self.min_distances is None:
            self.min_distances = torch.full((len(self.features), 1), torch.inf)
            self.difference = torch.empty(ROWS, self.features.shape[1])
            self.distances = torch.empty(ROWS, 1)
        for start in range(0, len(self.features), ROWS):
            part, least = self.features[start : start + ROWS], self.min_distances[start : start + ROWS]
            count = len(part)
            difference = torch.sub(part, centre, out=self.difference[:count])
            distances = torch.linalg.norm(difference, dim=1, keepdim=True, out=self.distances[:count])
            torch.minimum(least, distances, out=least)


@torch.no_grad()
def score(train: np.ndarray, test: np.ndarray, *, weights: Path, coreset: float, seed: int) -> dict[str, np.ndarray]:
    """Fit on the views of good images and score the others.

    Args:
        train: (N, h, w, 3) float32 BGR, 0 to 255.
        test: (M, h, w, 3), likewise.
        weights: a state dict.
        coreset: fraction of the embeddings that is kept.
        seed: of the coreset's random start and projection.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    model = fresh_model(weights)
    start = perf_counter()
    model.train()
    for view in train:
        model(normalised(view[np.newaxis]))
    features = perf_counter() - start
    embeddings = sum(len(each) for each in model.embedding_store)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # products of a few rows are faster so
    model.subsample_embedding(coreset)
    torch.set_num_threads(threads)
    fitting = perf_counter() - start

    model.eval()
    model(normalised(test[:1]))  # the first is slower
    scores, maps, milliseconds = [], [], []
    for view in test:
        start = perf_counter()
        result = model(normalised(view[np.newaxis]))
        milliseconds.append(1000 * (perf_counter() - start))
        scores.append(float(result.pred_score))
        maps.append(result.anomaly_map[0, 0].numpy())
    about = {
        "anomalib": anomalib.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "embeddings": embeddings,
        "kept": len(model.memory_bank),
        "coreset": coreset,
        "seed": seed,
        "features_s": round(features, 1),
        "fitting_s": round(fitting, 1),
        "median_ms": round(float(np.median(milliseconds)), 1),
    }
    return {
        "scores": np.array(scores, np.float32),
        "maps": np.stack(maps),
        "milliseconds": np.array(milliseconds, np.float32),
        "about": np.array(json.dumps(about)),
    }


def main() -> None:
    """Score every set whose views are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=Path, required=True, metavar="DIR", help="what `run.py --views` wrote")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="a state dict of wide_resnet50_2")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets an .npz a set")
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="default: all that are there")
    parser.add_argument("--coreset", type=float, default=CORESET, help=f"fraction of the embeddings ({CORESET})")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch_model.KCenterGreedy = Selection
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name in chosen.sets or sorted(path.stem for path in chosen.views.glob("*.npz")):
        with np.load(chosen.views / f"{name}.npz") as views:
            found = score(
                views["train"], views["test"], weights=chosen.weights, coreset=chosen.coreset, seed=chosen.seed
            )
            np.savez_compressed(chosen.output / f"{name}.npz", names=views["test_names"], **found)
        print(name, found["about"], flush=True)


if __name__ == "__main__":
    main()
