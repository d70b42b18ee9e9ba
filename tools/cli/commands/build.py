"""Build a bundle from images of good parts.

Every image goes through the network as a camera frame would. For the threshold, each image is scored against those of
all other parts; images that show the same part count as one. Images of n different parts certify a false-reject rate of
1 in n + 1 or more. The default is at most 5 %. A lower rate is extrapolated, and marked as such. Images that hardly
resemble the others are named: look at them before you trust the bundle (--review, or 'spade-edge gallery').
'spade-edge threshold' shows and changes the threshold afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spade_edge.runtime import DataError
from spade_edge.tools.cli.arguments import (
    add_bits,
    add_even_so,
    add_groups,
    add_json,
    fraction,
    not_negative,
    path,
    place_of_images,
    threads,
)
from spade_edge.tools.cli.folder_arguments import add_follow_links
from spade_edge.tools.cli.matching_arguments import add_matching_options, matching_options, place_option
from spade_edge.tools.cli.output_folder import check_folder
from spade_edge.tools.cli.view_arguments import add_view_options, view_options

if TYPE_CHECKING:
    from spade_edge.galleries import BuildOptions
    from spade_edge.tools.datasets import LocalImages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, type=path, metavar="FILE", help="the model that 'spade-edge export' wrote"
    )
    parser.add_argument(
        "--images",
        required=True,
        type=place_of_images,
        metavar="DIR",
        help="images of good parts: a folder, including subfolders; an address such as s3://plant/bolts; or a dataset "
        "file (.jsonl) that 'spade-edge dataset scan' wrote",
    )
    parser.add_argument(
        "--output", required=True, type=path, metavar="BUNDLE", help="the bundle folder to write, such as part.spade"
    )
    add_follow_links(parser)
    add_matching_options(parser)
    add_view_options(parser)
    parser.add_argument(
        "--false-rejects",
        type=fraction,
        metavar="RATE",
        help="fraction of good frames that may be rejected: 0.01 or 1%% (default: at most 5%%, or the "
        "lowest that fewer than 19 parts certify)",
    )
    parser.add_argument(
        "--min-area",
        type=not_negative,
        default=0.0,
        metavar="PIXELS",
        help="report no region smaller than this, in frame pixels (0)",
    )
    add_groups(parser)
    parser.add_argument(
        "--exclude",
        nargs="+",
        default=(),
        metavar="NAME|FILE",
        help="images that do not belong to the good ones: names relative to the folder, or a .txt file with one name "
        "a line",
    )
    parser.add_argument(
        "--review", type=path, metavar="DIR", help="write a page with the good images there, the least typical first"
    )
    add_bits(parser, default="found in the images")
    add_even_so(
        parser,
        what="build also where some images are grey and some in colour, some have 8 bits and some 16, or some have "
        "another size than most",
    )
    parser.add_argument(
        "--align",
        choices=("auto", "off"),
        default="auto",
        help="auto: if the good images show where parts lie, a part that lies elsewhere is brought back before it is "
        "judged, and cannot be judged if it lies too far away; off: frames are judged as they are (auto)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read, and name them")
    parser.add_argument(
        "--threads", type=threads, metavar="N", help="threads for all steps but the index (default: one per core)"
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import images_at

    if chosen.review is not None:
        from spade_edge.tools.report.page import check_page
        from spade_edge.tools.report.review import FILE

        check_folder("--review", chosen.review)
        check_page(chosen.review / FILE)
    with images_at(chosen.images, groups=chosen.groups, good_only=True, progress=progress) as images:
        return _build(chosen, images)


def _build(chosen: argparse.Namespace, images: LocalImages) -> int:
    from spade_edge.galleries import build
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.build import as_json, notes, plan_lines, sentence

    built = build(
        images.folder,
        model=chosen.model,
        output=chosen.output,
        options=options_of(chosen, groups=images.groups),
        announce=lambda plan: _tell(plan_lines(plan, chosen, images=images.address)),
        progress=progress,
    )
    built = replace(built, skipped=images.told(built.skipped), remarks=images.told(built.remarks))
    _tell(notes(built))
    print(json.dumps(as_json(built)) if chosen.json else sentence(built), flush=True)
    if chosen.review is not None:
        from spade_edge.tools.report.review import write_review

        page = write_review(chosen.review, built.path, images=images.folder, threads=chosen.threads, progress=progress)
        _tell([f"{page}: open it in a browser"])
    return 0


def options_of(chosen: argparse.Namespace, *, groups: str | None) -> BuildOptions:
    """The options of a build, as a command line gives them.

    Args:
        chosen: the command line.
        groups: which images show the same part: what it says, or the dataset.

    Raises:
        UsageError: options that do not go together.
        DataError: a text file of names cannot be read.
    """
    from spade_edge.galleries import BuildOptions

    return BuildOptions(
        profile=chosen.profile,
        matching=matching_options(chosen),
        place=place_option(chosen),
        views=view_options(chosen),
        rate=chosen.false_rejects,
        area=chosen.min_area,
        groups=groups,
        exclude=excluded_names(chosen.exclude),
        skip_bad=chosen.skip_bad,
        bits=chosen.bits,
        even_so=chosen.even_so,
        align=chosen.align,
        follow_links=bool(chosen.follow_links),
        threads=chosen.threads,
    )


def excluded_names(values: Sequence[str]) -> tuple[str, ...]:
    """The names that --exclude gives, directly or in text files.

    Raises:
        DataError: a text file that cannot be read.
    """
    names: list[str] = []
    for value in values:
        if not value.endswith(".txt"):
            names.append(value)
            continue
        try:
            lines = Path(value).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            found = problem.strerror if isinstance(problem, OSError) else "another encoding than UTF-8"
            raise DataError(f"{value}: expected a text file with one name a line, found: {found}") from None
        names += [line.strip() for line in lines if line.strip()]
    return tuple(dict.fromkeys(names))


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)
