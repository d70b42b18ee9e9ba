"""`gallery add`, `remove` and `compact`: good images join a bundle, or leave it, on the device itself."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from spade_edge.runtime import DataError
from spade_edge.tools.cli.arguments import add_json, add_threads, path, place_of_images
from spade_edge.tools.cli.gallery.remarks import print_remarks
from spade_edge.tools.cli.gallery.verbs import Verbs, add_verb

if TYPE_CHECKING:
    from spade_edge.galleries.gallery_change import GalleryChange
    from spade_edge.galleries.prospect import Prospect
    from spade_edge.tools.cli.text.teaching import Effect


def add_arguments(verbs: Verbs) -> None:
    add = add_verb(verbs, "add", _add, what="teach in images of good parts, for example rejects that were good")
    add.add_argument(
        "images",
        nargs="+",
        type=place_of_images,
        metavar="IMAGE",
        help="an image file, a folder of them, the address of either, or a dataset file",
    )
    add.add_argument(
        "--unselected",
        action="store_true",
        help="the images were taken whatever their verdict, for example every hundredth frame: they count as evidence "
        "for the threshold. Images that were chosen because they were rejected, or passed, must not",
    )
    part = add.add_mutually_exclusive_group()
    part.add_argument("--same-part", action="store_true", help="all these images show one and the same part")
    part.add_argument("--part-of", metavar="NAME", help="they show the same part as this good image")
    add.add_argument(
        "--even-so", action="store_true", help="add images too that cannot be judged or score far over the threshold"
    )
    add.add_argument("--bits", type=int, metavar="N", help="bits that the camera uses of the 16 of a stored number")
    _add_common(add)
    remove = add_verb(verbs, "remove", _remove, what="take good images out, with their features")
    remove.add_argument("names", nargs="+", metavar="NAME", help="names of images, as 'gallery list' shows them")
    _add_common(remove)
    compact = add_verb(verbs, "compact", _compact, what="build the index anew with hnswlib, as a build would")
    add_threads(compact)
    add_json(compact)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the log")
    parser.add_argument("--who", default="", metavar="NAME", help="who does it; default: user and host")
    parser.add_argument(
        "--recent",
        type=path,
        metavar="DIR",
        help="recent frames: score the last 500 with the bundle before and after, and tell whose verdict changes",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what the change would do, and do not do it")
    add_threads(parser)
    add_json(parser)


def _add(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.teaching import EACH, ONE, teach_in
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import images_at

    part = chosen.part_of or (ONE if chosen.same_part else EACH)
    telling = _Telling(chosen)
    with ExitStack() as places:
        found = [places.enter_context(images_at(each, good_only=True, progress=progress)) for each in chosen.images]
        change = teach_in(
            chosen.bundle,
            [images.folder for images in found],
            reason=chosen.reason,
            who=chosen.who,
            selected=not chosen.unselected,
            part=part,
            even_so=chosen.even_so,
            bits=chosen.bits,
            settled=telling,
            threads=chosen.threads,
            progress=progress,
        )
    return telling.done(change)


def _remove(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.teaching import take_out
    from spade_edge.tools.cli.progress_bar import progress

    telling = _Telling(chosen)
    change = take_out(
        chosen.bundle,
        chosen.names,
        reason=chosen.reason,
        who=chosen.who,
        settled=telling,
        threads=chosen.threads,
        progress=progress,
    )
    return telling.done(change)


def _compact(chosen: argparse.Namespace) -> int:
    from spade_edge.galleries.teaching import compact
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.cli.text.gallery import change_as_json, threshold_sentence

    change = compact(chosen.bundle, threads=chosen.threads, progress=progress)
    if change is None:
        print("null" if chosen.json else f"{chosen.bundle} has no index: there is nothing to build anew")
        return 0
    print_remarks(change)
    print(json.dumps(change_as_json(change)) if chosen.json else f"built the index anew; {threshold_sentence(change)}")
    return 0


class _Telling:
    """Tells what a change would do, before it is done."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        if chosen.recent is not None and not chosen.recent.is_dir():  # said before the work and not after it
            raise DataError(f"{chosen.recent}: expected a folder of recent frames, found none; name another --recent")
        self._chosen = chosen
        self._effect: Effect | None = None

    def __call__(self, prospect: Prospect) -> bool:
        from spade_edge.galleries.prospect import recalls, verdicts
        from spade_edge.tools.cli.progress_bar import progress
        from spade_edge.tools.cli.text.teaching import Effect, effect_lines

        recent = None
        if self._chosen.recent is not None:
            recent = verdicts(prospect, self._chosen.recent, progress=progress)
        self._effect = Effect(
            before=prospect.before, manifest=prospect.manifest, recent=recent, recalls=recalls(prospect)
        )
        for line in effect_lines(self._effect):
            print(line, file=sys.stderr)
        return not self._chosen.dry_run

    def done(self, change: GalleryChange) -> int:
        """Print what was done, or that nothing was."""
        from spade_edge.tools.cli.text.teaching import as_json, sentence

        assert self._effect is not None  # noqa: S101  (the change was told)
        if change.former is not None:
            print_remarks(change)
        print(json.dumps(as_json(change, self._effect)) if self._chosen.json else sentence(change, self._chosen.verb))
        return 0
