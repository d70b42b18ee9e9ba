"""What a gallery of thousands of frames costs: `python tests/quality/large.py --model FILE --scratch DIR`.

ShanghaiTech Campus (STC) is the paper's largest set: frames of fixed cameras over walkways, its training set cut to
about 5,000. Here a walkway is rendered (tests/walkway.py), each clip is one part, and galleries of 200, 1,600 and 5,000
frames from the same 100 clips are built with `spade-edge fleet build`, in shards. A build that is interrupted goes on
where it stopped. All galleries are then benchmarked one after the other, and score a clip that none of them holds,
as it is and with a cyclist.

The figures are printed as a table, and written to DIR/large.json. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from spade_edge.runtime import Scorer
from spade_edge.tools.datasets import read_dataset, scan, write_dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import walkway

CLIPS, FRAMES = 100, 50
SIZES = (200, 1600, 5000)
COUNT = 60  # frames that are benchmarked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder with 40 GB of room")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    frames = chosen.scratch / "frames"
    if not frames.exists():
        walkway.write(frames, clips=CLIPS, frames=FRAMES)
    plan = _plan(chosen.scratch, frames, chosen)
    built = [
        _ours("fleet", "build", plan, "--only", f"walkway-{size}", "--workers", chosen.workers, "--json")
        for size in chosen.sizes
    ]  # each in a process of its own, which says how much memory it needed
    rows = []
    for said in built:
        row = _figures(json.loads(said))
        bundle = Path(row["bundle"])
        rows.append(row | _benchmarked(bundle) | _scored(bundle))
    (chosen.scratch / "large.json").write_text(json.dumps(rows, indent=1))
    for row in rows:
        print(" | ".join(f"{name} {value}" for name, value in row.items()))


def _plan(scratch: Path, frames: Path, chosen: argparse.Namespace) -> Path:
    """The plan of the builds, and a dataset file for each: so many frames of each clip, evenly spaced."""
    listed = scratch / "frames.jsonl"
    if not listed.exists():
        write_dataset(listed, scan(str(frames), groups="folder"))
    entries = read_dataset(str(listed))
    lines = ["version = 1", 'output = "bundles"', "[defaults]", f'model = "{chosen.model.absolute()}"']
    for size in chosen.sizes:
        wanted = np.linspace(0, len(entries) - 1, size).round().astype(int)
        write_dataset(scratch / f"frames-{size}.jsonl", [replace(entries[i], time="") for i in np.unique(wanted)])
        lines += ["[[bundle]]", f'name = "walkway-{size}"', f'images = "frames-{size}.jsonl"']
        lines += [f"shards = {chosen.shards}"]
    path = scratch / "fleet.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _ours(*arguments: object) -> str:
    command = [sys.executable, "-m", "spade_edge.tools.cli.main", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """What the build of a bundle says of itself."""
    facts, bundle = row["facts"], Path(row["bundle"])
    parts = facts.get("parts", [])
    return {
        "images": facts["images"],
        "bundle": str(bundle),
        "bytes": sum(path.stat().st_size for path in bundle.iterdir() if path.is_file()),
        "total_seconds": facts["total_seconds"],
        **{f"{step}_seconds": seconds for step, seconds in facts["seconds"].items()},
        "parts": len(parts),
        "parts_seconds": round(sum(part["seconds"] for part in parts), 1),
        "driver_cpu_seconds": facts.get("cpu_seconds"),
        "parts_cpu_seconds": round(sum(part.get("cpu_seconds", 0) for part in parts), 1),
        "driver_peak_bytes": facts["peak_bytes"],
        "worker_peak_bytes": max((part["peak_bytes"] for part in parts), default=None),
    }


def _benchmarked(bundle: Path) -> dict[str, Any]:
    measured = json.loads(_ours("bench", "--bundle", bundle, "--count", COUNT, "--json"))
    return {
        "frame_ms": measured["measured"]["frame"]["p50"],
        "network_ms": measured["measured"]["network"]["p50"],
        "ratio": measured["measured"]["ratio"],
        "matching_ms": measured["measured"]["stages"]["matching"],
        "open_seconds": measured["open_seconds"],
        "resident_megabytes": measured["memory"]["resident_megabytes"],
    }


def _scored(bundle: Path) -> dict[str, Any]:
    """How often frames of another clip are rejected, as they are and with a cyclist."""
    scorer = Scorer.open(bundle)
    numbers: Sequence[int] = range(0, FRAMES, 5)
    good = [scorer(_as_stored(walkway.frame(CLIPS, number))) for number in numbers]
    odd = [scorer(_as_stored(walkway.frame(CLIPS, number, cyclist=True))) for number in numbers]
    return {
        "good_rejected": sum(result.verdict != "good" for result in good),
        "cyclists_found": sum(result.verdict == "defect" for result in odd),
        "of": len(numbers),
    }


def _as_stored(frame: Any) -> Any:
    """A frame as it comes out of the files of the gallery."""
    _, raw = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return cv2.imdecode(raw, cv2.IMREAD_COLOR)


if __name__ == "__main__":
    main()
