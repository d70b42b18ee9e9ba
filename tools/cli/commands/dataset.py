"""List the images of a folder or an object store in one file, and verify that they are still the same.

    spade-edge dataset scan   s3://plant/bolts bolts.jsonl
    spade-edge dataset verify bolts.jsonl
    spade-edge dataset diff   old.jsonl bolts.jsonl

A dataset file says of each image where it lies, its hash and size, and what it shows. Commands that take a folder of
images take such a file as well. verify reads every image and ends with exit code 3 if one is gone or changed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING

from spade_edge.runtime.errors import DataError
from spade_edge.tools.cli.arguments import add_json, path, place_of_images
from spade_edge.tools.cli.folder_arguments import add_follow_links

if TYPE_CHECKING:
    from spade_edge.tools.datasets import Difference

SHOWN = 20  # names of one kind of difference; the others are counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    scan = verbs.add_parser("scan", help="hash every image at an address, and write a dataset file")
    scan.set_defaults(run_verb=_scan)
    scan.add_argument(
        "images", type=place_of_images, metavar="ADDRESS", help="a folder, or an address such as s3://plant/bolts"
    )
    scan.add_argument("file", type=path, metavar="FILE", help="the dataset file to write, such as bolts.jsonl")
    add_follow_links(scan)
    scan.add_argument("--camera", default="", metavar="NAME", help="that took the images; kept in the file")
    scan.add_argument(
        "--label",
        default="",
        metavar="TEXT|folder",
        help="what the images show: good, or the type of the defect; folder: the name of the folder that each lies in",
    )
    scan.add_argument(
        "--groups",
        metavar="folder|REGEX|FILE.csv",
        help="which images show the same part, as for 'spade-edge build'; kept in the file",
    )
    add_json(scan)
    verify = verbs.add_parser("verify", help="read every image of a dataset, and compare it with its hash")
    verify.set_defaults(run_verb=_verify)
    verify.add_argument("file", type=place_of_images, metavar="FILE", help="path or address of a dataset file")
    add_json(verify)
    diff = verbs.add_parser("diff", help="tell what differs between two datasets")
    diff.set_defaults(run_verb=_diff)
    diff.add_argument("old", type=place_of_images, metavar="OLD", help="path or address of a dataset file")
    diff.add_argument("new", type=place_of_images, metavar="NEW", help="path or address of another one")
    add_json(diff)


def run(chosen: argparse.Namespace) -> int:
    return int(chosen.run_verb(chosen))


def _scan(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import scan, write_dataset
    from spade_edge.tools.datasets.dataset_file import check_dataset

    check_dataset(chosen.file)  # said before the images are read
    entries = scan(
        chosen.images,
        camera=chosen.camera,
        label=chosen.label,
        groups=chosen.groups,
        follow_links=bool(chosen.follow_links),
        progress=progress,
    )
    write_dataset(chosen.file, entries)
    size = sum(entry.size for entry in entries)
    groups = {entry.group for entry in entries if entry.group}
    labels = dict(sorted(Counter(entry.label for entry in entries if entry.label).items()))
    if chosen.json:
        said = {"file": str(chosen.file), "images": len(entries), "bytes": size}
        print(json.dumps(said | {"groups": len(groups), "labels": labels}))
        return 0
    parts = [f"{len(entries)} image{'' if len(entries) == 1 else 's'}, {size / 1e6:,.1f} MB"]
    parts += [f"{len(groups)} group{'' if len(groups) == 1 else 's'}"] if groups else []
    parts += ["labelled " + ", ".join(f"{label} ({count})" for label, count in labels.items())] if labels else []
    print(f"{chosen.file}: {'; '.join(parts)}")
    return 0


def _verify(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import read_dataset, verify

    entries = read_dataset(chosen.file)
    found = []
    for mismatch in verify(entries, progress=progress):
        found.append(mismatch)
        if not chosen.json:
            print(mismatch.fault, flush=True)
    if chosen.json:
        faults = [{"name": each.name, "fault": each.fault} for each in found]
        print(json.dumps({"images": len(entries), "same": len(entries) - len(found), "faults": faults}))
    else:
        print(f"{len(entries) - len(found)} of {len(entries)} images are as the dataset says")
    return DataError.exit_code if found else 0


def _diff(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict, replace

    from spade_edge.tools.datasets import difference, read_dataset

    found = difference(read_dataset(chosen.old), read_dataset(chosen.new))
    found = replace(
        found, moved=tuple(replace(each, before=_told(each.before), after=_told(each.after)) for each in found.moved)
    )
    if chosen.json:
        print(json.dumps(asdict(found)))
    else:
        print("\n".join(_lines(found)))
    return 0


def _told(address: str) -> str:
    """An address without what may be secret in it; a path as it is."""
    from spade_edge.tools.remote import is_address, shown

    return shown(address) if is_address(address) else address


def _lines(found: Difference) -> list[str]:
    if found.nothing:
        return ["both datasets say the same"]
    lines = []
    for what, names in (
        ("added", found.added),
        ("removed", found.removed),
        ("changed content", found.changed),
    ):
        lines += _some(what, [str(name) for name in names])
    said = [f"{each.name}: {each.what} {each.before!r} → {each.after!r}" for each in found.said]
    moved = [f"{each.name}: {each.before} → {each.after}" for each in found.moved]
    return [*lines, *_some("said otherwise", said), *_some("moved", moved)]


def _some(what: str, items: list[str]) -> list[str]:
    """A heading with the number of the items, and the first of them."""
    if not items:
        return []
    more = [f"  and {len(items) - SHOWN} more; --json has all"] if len(items) > SHOWN else []
    return [f"{what}: {len(items)}", *(f"  {item}" for item in items[:SHOWN]), *more]
