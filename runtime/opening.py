"""How a bundle is matched: as it was built, by another search, or by search objects of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.errors import BundleError, UsageError
from spade_edge.runtime.matching.config import EXACT, HNSW
from spade_edge.runtime.matching.graph_search import GraphSearch, Search
from spade_edge.runtime.matching.matcher import Matcher


def check_search(search: str | None, searches: Sequence[Search]) -> None:
    """Refuse a search that does not exist, and search objects that would not be used.

    Raises:
        UsageError: `search` is neither "exact", "hnsw" nor None, or it is "exact" while there are `searches`.
    """
    if search not in (None, EXACT, HNSW):
        raise UsageError(f"expected search to be {EXACT} or {HNSW}, found {search!r}")
    if search == EXACT and searches:
        raise UsageError(f"expected no searches with search {EXACT}, found {len(searches)}; leave one of them out")


def open_matcher(
    bundle: Bundle, *, search: str | None, searches: Sequence[Search] = (), threads: int | None = None
) -> Matcher:
    """Make the matcher of a bundle.

    Args:
        bundle: an open bundle.
        search: "exact" or "hnsw"; None as the bundle was built.
        searches: search objects that replace the search of the bundle's index; they imply "hnsw".
        threads: threads of onnxruntime; None for one per core.

    Raises:
        BundleError: "hnsw" is asked for, and the bundle has no index.
        UsageError: another number of `searches` than the bundle has indexes.
    """
    wanted = HNSW if searches else search
    if wanted == HNSW and not bundle.indexes:
        raise BundleError(
            f"{bundle.path}: expected a bundle with an HNSW index, found one built with --projection none; "
            f"use --search {EXACT}"
        )
    matching = bundle.manifest.matching
    if wanted is not None:
        matching = replace(matching, search=wanted)
    if matching.search == HNSW and not searches:
        searches = [GraphSearch(index, threads=threads) for index in bundle.indexes]
    return Matcher(bundle.gallery, matching, searches=searches, threads=threads)
