"""The options of `spade-edge build` that choose the matching."""

from __future__ import annotations

import argparse
from dataclasses import replace

from spade_edge.runtime import UsageError
from spade_edge.runtime.matching.config import (
    AUTO,
    CODES,
    EXACT,
    FREE,
    HNSW,
    NONE,
    PER_VIEW,
    PROFILES,
    SHARED,
    Matching,
    parsed_place,
)
from spade_edge.runtime.matching.normalisation import LENGTH, ROOT
from spade_edge.runtime.matching.normalisation import NONE as UNCHANGED
from spade_edge.tools.cli.arguments import integer, number, positive

GIVEN = (
    "kappa",
    "sigma",
    "projection",
    "normalisation",
    "search",
    "candidates",
    "ef",
    "gallery",
)  # parameters of Matching


def add_matching_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `matching_options` reads, and the profile."""
    parser.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        default="edge",
        help="edge (default): HNSW search, image score from the anomaly map; paper: exactly as published, slow",
    )
    parser.add_argument(
        "--neighbours",
        type=_neighbours,
        metavar="K",
        help="match with the K nearest good images only (edge: all; paper: 50)",
    )
    parser.add_argument(
        "--kappa", type=integer, metavar="κ", help="nearest embeddings that are averaged at each position (1)"
    )
    parser.add_argument(
        "--sigma", type=number, metavar="σ", help="Gaussian smoothing of the anomaly map, in view pixels (4)"
    )
    parser.add_argument(
        "--projection",
        choices=(CODES, NONE),
        help="codes (edge): one byte per feature; none (paper): float32 as the network gives them, 4 times the size",
    )
    parser.add_argument(
        "--normalisation",
        choices=(ROOT, LENGTH, UNCHANGED),
        help="of features before they become codes: root (edge), square roots, brought to length 1 at each level and "
        "position; length, brought to length 1; none, unchanged",
    )
    parser.add_argument(
        "--place",
        type=place_of_cells,
        default=AUTO,
        metavar="auto|free|N",
        help="where a cell of a frame (1/14 of a view) may match: at most N cells from its own place, for parts that "
        "always lie alike; free: anywhere, for textures; auto: chosen from the good images (auto)",
    )
    parser.add_argument(
        "--search",
        choices=(HNSW, EXACT),
        help="search for the nearest embeddings (edge: hnsw, or by place, see --place); hnsw implies --place free",
    )
    parser.add_argument(
        "--candidates",
        type=integer,
        metavar="T",
        help="gallery cells compared with each cell of a frame (12; 6 where --place auto chooses a place)",
    )
    parser.add_argument("--ef", type=integer, help="hnsw: length of the candidate list during the search (32)")
    parser.add_argument(
        "--gallery",
        choices=(SHARED, PER_VIEW),
        help="shared (default): a view may match any view of a good image, for textures; per-view: only the same view, "
        "for parts in a fixed position",
    )


def place_option(chosen: argparse.Namespace) -> str | int:
    """Where cells may match; an HNSW index finds them at any place.

    Raises:
        UsageError: an HNSW search by place.
    """
    place: str | int = chosen.place
    if chosen.search != HNSW:
        return place
    if isinstance(place, int):
        raise UsageError(
            f"expected --place {FREE} with --search {HNSW}, which finds cells at any place, found {place}; leave out "
            "--search"
        )
    return FREE


def matching_options(chosen: argparse.Namespace) -> Matching:
    """The parameters of the profile, with those of the command line in their place.

    Raises:
        UsageError: a normalisation of features that are not coded, or parameters that do not go together.
    """
    given = {name: getattr(chosen, name) for name in GIVEN}
    if given["projection"] == NONE and given["search"] is None:
        given["search"] = EXACT
    matching = replace(PROFILES[chosen.profile], **{name: value for name, value in given.items() if value is not None})
    if given["normalisation"] not in (None, matching.normalisation):
        raise UsageError(
            f"expected --normalisation {UNCHANGED} with --projection {NONE}, which keeps features as the network gives "
            f"them, found {given['normalisation']}"
        )
    return matching if chosen.neighbours is None else replace(matching, neighbours=chosen.neighbours or None)


def place_of_cells(text: str) -> str | int:
    """See `parsed_place`."""
    try:
        return parsed_place(text)
    except UsageError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _neighbours(text: str) -> int:
    """K; 0 stands for all."""
    return 0 if text == "all" else positive(text)
