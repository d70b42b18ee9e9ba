"""`manifest.json`: the files of a bundle, and everything about it that is not an array.

The manifest is small and readable by itself: it describes a bundle without loading the payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.evidence import BOTH, FRAMES, IMAGES, Evidence
from spade_edge.runtime.bundle.good_image import GoodImage
from spade_edge.runtime.bundle.held_back_frame import HeldBackFrame
from spade_edge.runtime.bundle.manifest_file import manifest_bytes
from spade_edge.runtime.bundle.place_choice import PlaceChoice
from spade_edge.runtime.bundle.threshold import Threshold
from spade_edge.runtime.digest import BUNDLE_MARK
from spade_edge.runtime.errors import BundleError, ModelError, UsageError
from spade_edge.runtime.fields import Fields, parse, short
from spade_edge.runtime.geometry.layout import Canvas, Layout
from spade_edge.runtime.matching.coding import Coding
from spade_edge.runtime.matching.config import CODES, FROM_MAP, PROFILES, Matching
from spade_edge.runtime.network.card import ModelCard
from spade_edge.runtime.preprocessing.alignment import Alignment
from spade_edge.runtime.preprocessing.condition import Limits
from spade_edge.runtime.preprocessing.frame_format import FrameFormat
from spade_edge.runtime.result import CANNOT_JUDGE, DEFECT, GOOD

FILE = BUNDLE_MARK
HISTORY = "history"
SCHEMA = 9
READABLE = (8, 9)  # 8 knows no images that were taught in

SMALLEST_STEP = 1e-12
LARGEST_SCALE = 1e12  # of a feature; sums of its squares stay within float32

NAME = re.compile(r"[a-z0-9_]+-[0-9a-f]{16}\.[a-z]+")  # a role, the start of the content's SHA-256, a suffix
MOST_NAMED = 30  # roles in a message
LEAVE_ONE_OUT = ("left_out", "reach")  # what the next change of the gallery starts from; no frame needs it
_VERDICTS = (("under", GOOD), ("over", DEFECT))  # of a golden frame, on either side of the threshold
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Payload:
    """One file of a bundle, named after its content."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Scales:
    """The scales of codes and keys; see `spade_edge.runtime.matching.coding.Coding`.

    Attributes:
        lowest, steps: one number per level.
        key_scale, key_offset: one number per dimension of the keys.
    """

    lowest: tuple[float, ...]
    steps: tuple[float, ...]
    key_scale: tuple[float, ...]
    key_offset: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {name: list(values) for name, values in vars(self).items()}

    @classmethod
    def of(cls, coding: Coding) -> Scales:
        """The scales of a coding. This is exact, as every float32 is a float64."""
        values = (coding.lowest, coding.steps, coding.key_scale, coding.key_offset)
        return cls(*(tuple(map(float, value)) for value in values))

    def coding(self, key_weights: NDArray[np.int8], normalisation: str) -> Coding:
        """The coding that these scales, the weights and the normalisation make together."""
        values = (self.lowest, self.steps, self.key_scale, self.key_offset)
        lowest, steps, key_scale, key_offset = (np.array(value, np.float32) for value in values)
        return Coding(
            normalisation=normalisation,
            lowest=lowest,
            steps=steps,
            key_weights=key_weights,
            key_scale=key_scale,
            key_offset=key_offset,
        )

    @classmethod
    def from_fields(cls, fields: Fields, *, levels: int, coded: bool, source: str) -> Scales | None:
        if not coded:
            fields.nothing("scales")
            return None
        own = fields.object("scales")
        scales = cls(*(own.numbers(name) for name in ("lowest", "steps", "key_scale", "key_offset")))
        own.done()
        keys = len(scales.key_scale)
        if not len(scales.lowest) == len(scales.steps) == levels or not 1 <= keys == len(scales.key_offset):
            raise BundleError(
                f"{source}: expected scales for {levels} levels and for each number of a key, found others"
            )
        largest = max(map(abs, (*scales.lowest, *scales.steps, *scales.key_scale, *scales.key_offset)))
        if min(scales.steps) < SMALLEST_STEP or largest > LARGEST_SCALE:
            raise BundleError(
                f"{source}: expected steps from {SMALLEST_STEP:g} and scales up to {LARGEST_SCALE:g}, found others"
            )
        return scales


@dataclass(frozen=True)
class Judged:
    """Score and verdict of a golden frame on the machine that built the bundle.

    Attributes:
        score: its image score.
        under: the verdict while the score is not over the threshold: "good", or "cannot_judge".
        over: the verdict while it is over the threshold: "defect", or "cannot_judge".
    """

    score: float
    under: str
    over: str


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        created: time of the build, UTC, ISO 8601.
        writer: the spade-edge version that wrote it.
        profile: "edge" or "paper".
        matching: how frames are matched: the profile's parameters with the changes chosen at the build.
        place: why cells are matched at their place, or at any place.
        deviations: how this bundle deviates from the paper, as information for people.
        model: the card of the bundle's model.
        layout: the parts of a frame that are inspected.
        images: the good images, in the gallery's order, with their scores; some may be excluded.
        frames: good frames that were held back from the gallery, as evidence for the threshold; often none.
        threshold: the threshold of the verdict.
        limits: exposure, contrast, focus and colour outside of which a frame cannot be judged.
        format: what the good images have in common: grey or colour, channel order, depth, size.
        farthest: the largest `Matcher.unlikeness` of a view of a frame that can be good.
        scales: the scales of the codes; None with projection "none".
        alignment: where parts lie in good images, by which frames are aligned; None if they are not aligned.
        golden: score and verdict of each golden frame; empty if the bundle cannot test a device.
        files: role to payload: model, level1 …, squares, descriptors, thumbnails; with "codes" also key_weights,
            and keys if cells are matched by place, else entries and index, or index1 … if the gallery is per view; with
            a mask also mask; with scores from the map
            also baseline; with an alignment also reference; with golden frames also golden_frames, golden_level1 …,
            golden_distances, golden_heatmaps; mostly also left_out and reach, from which leave-one-out scores are found
            sooner when the gallery changes.
    """

    created: str
    writer: str
    profile: str
    matching: Matching
    place: PlaceChoice
    deviations: tuple[str, ...]
    model: ModelCard
    layout: Layout
    images: tuple[GoodImage, ...]
    frames: tuple[HeldBackFrame, ...]
    threshold: Threshold
    limits: Limits
    format: FrameFormat
    farthest: float
    scales: Scales | None
    files: dict[str, Payload]
    golden: tuple[Judged, ...] = ()
    alignment: Alignment | None = None

    def roles(self) -> tuple[str, ...]:
        """The payload that a bundle of this kind has."""
        levels = tuple(level.output for level in self.model.levels)
        weights: tuple[str, ...] = ()
        if self.matching.projection == CODES:
            weights = ("key_weights", "entries" if self.matching.place is None else "keys")
        mask = ("mask",) if self.layout.masked else ()
        baseline = ("baseline",) if self.matching.image_score == FROM_MAP else ()
        reference = ("reference",) if self.alignment is not None else ()
        golden = golden_roles(self.model) if self.golden else ()
        always = ("model", *levels, "squares", "descriptors", "thumbnails")
        return (*always, *weights, *self.index_roles(), *mask, *baseline, *reference, *golden)

    def gallery_roles(self) -> tuple[str, ...]:
        """The files that grow with the number of good images."""
        fixed = {"model", "key_weights", "mask", "baseline", "reference", *golden_roles(self.model)}
        return tuple(role for role in self.roles() if role not in fixed)

    def index_roles(self) -> tuple[str, ...]:
        """The HNSW indexes: one over all views, or one per view; none with projection "none"."""
        count = self.matching.indexes(len(self.layout))
        return ("index",) if count == 1 else tuple(f"index{number}" for number in range(1, count + 1))

    @property
    def canvas(self) -> Canvas:
        """Where the views and the anomaly map lie on a frame."""
        return Canvas(self.layout, self.model.view)

    @property
    def size(self) -> int:
        """Size of the payload in bytes."""
        return sum(payload.size for payload in self.files.values())

    @property
    def names(self) -> tuple[str, ...]:
        """File names of the good images, in the gallery's order."""
        return tuple(image.name for image in self.images)

    @property
    def included(self) -> NDArray[np.bool_]:
        """(N,) bool, the good images that frames are matched with."""
        return np.array([image.included for image in self.images], bool)

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(N,) bool, those of them that something is learned from."""
        return np.array([image.counts for image in self.images], bool)

    @property
    def selected(self) -> NDArray[np.bool_]:
        """(N,) bool, the others of them, which were taught in because of their verdict."""
        return self.included & ~self.counts

    @property
    def evidence(self) -> Evidence:
        """What the threshold was found from."""
        return self.evidence_of(self.threshold.source)

    def evidence_of(self, source: str) -> Evidence:
        """Scores of good parts: of the good images that count, "images", of the held-back "frames", or of "both"."""
        return evidence_of(
            self.images if source in (IMAGES, BOTH) else (), self.frames if source in (FRAMES, BOTH) else ()
        )

    def _check_evidence(self, source: str) -> None:
        if not any(image.counts for image in self.images):
            raise BundleError(f"{source}: expected one or more good images that are included, found none")
        if len(set(self.names)) != len(self.names):
            raise BundleError(f"{source}: expected good images with different names, found one name twice")
        found = self.evidence.parts if len(self.evidence.scores) else 0
        if found != self.threshold.parts:
            raise BundleError(
                f"{source}: expected a threshold from {self.threshold.parts} distinct parts, found {found}"
            )

    def to_text(self) -> str:
        """The file's contents: indented JSON that ends in a newline."""
        value = {
            "schema": SCHEMA,
            "created": self.created,
            "writer": self.writer,
            "profile": self.profile,
            "matching": self.matching.to_json(),
            "place": self.place.to_json(),
            "deviations": list(self.deviations),
            "threshold": self.threshold.to_json(),
            "limits": self.limits.to_json(),
            "format": self.format.to_json(),
            "farthest": self.farthest,
            "alignment": None if self.alignment is None else self.alignment.to_json(),
            "model": self.model.to_json(),
            "layout": self.layout.to_json(),
            "scales": None if self.scales is None else self.scales.to_json(),
            "golden": [asdict(judged) for judged in self.golden],
            "files": {
                role: {"name": payload.name, "sha256": payload.sha256, "size": payload.size}
                for role, payload in self.files.items()
            },
            "images": [image.to_json() for image in self.images],
            "frames": [asdict(frame) for frame in self.frames],
        }
        return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, bundle: Path, *, sha256: str | None = None) -> Manifest:
        """Read the manifest of a bundle folder; no other file is opened.

        Args:
            bundle: the folder.
            sha256: 64 hexadecimal digits that the manifest must have; None for any.

        Raises:
            BundleError: there is no manifest, it is another one than expected, or a field is missing, unknown or of
                another type.
        """
        text, _ = manifest_bytes(bundle, sha256=sha256)
        return cls.from_text(text, source=str(bundle / FILE))

    @classmethod
    def from_text(cls, text: str | bytes, *, source: str = FILE) -> Manifest:
        """Parse a manifest; `source` is what messages call it.

        Raises:
            BundleError: as for `read`.
        """
        fields = parse(text, where=source, error=BundleError)
        schema = fields.integer("schema")
        if schema not in READABLE:
            raise BundleError(
                f"{source}: expected schema {SCHEMA}, found {schema}; "
                + ("build the bundle again" if schema < SCHEMA else "update this machine's spade-edge")
            )
        created, writer = fields.text("created"), fields.text("writer")
        profile = fields.text("profile", among=tuple(PROFILES))
        deviations = fields.texts("deviations")
        threshold = Threshold.from_fields(fields.object("threshold"), source=source)
        limits = Limits.from_fields(fields.object("limits"), source=source)
        form = FrameFormat.from_fields(fields.object("format"), source=source)
        farthest = fields.number("farthest")
        place = PlaceChoice.from_fields(fields.object("place"))
        own = fields.object_or_none("alignment")
        alignment = None if own is None else Alignment.from_fields(own, source=source)
        try:
            matching = Matching.from_fields(fields.object("matching"))
            model = ModelCard.from_fields(fields.object("model"), source=source)
            layout = Layout.from_fields(fields.object("layout"))
            Canvas(layout, model.view)
            matching.check_views(len(layout))
        except (UsageError, ModelError) as problem:
            raise BundleError(f"{source}: {problem}") from None
        scales = Scales.from_fields(fields, levels=len(model.levels), coded=matching.projection == CODES, source=source)
        golden = []
        for item in fields.items("golden"):
            under, over = (item.text(name, among=(usual, CANNOT_JUDGE)) for name, usual in _VERDICTS)
            golden.append(Judged(score=item.number("score"), under=under, over=over))
            item.done()
        files = {}
        listed = fields.object("files")
        for role in listed.names():
            file = listed.object(role)
            payload = Payload(name=file.text("name"), sha256=file.text("sha256"), size=file.integer("size"))
            file.done()
            # This also prevents a hostile manifest from naming a file outside the bundle.
            fits = NAME.fullmatch(payload.name) and HASH.fullmatch(payload.sha256)
            if not fits or payload.name.partition(".")[0] != f"{role}-{payload.sha256[:16]}":
                raise BundleError(
                    f"{source}: expected {short(role)} named after its SHA-256, found {short(payload.name)!r}"
                )
            files[role] = payload
        teaching = schema >= 9
        images = tuple(GoodImage.from_fields(own, source=source, teaching=teaching) for own in fields.items("images"))
        frames = tuple(HeldBackFrame.from_fields(own) for own in fields.items("frames"))
        fields.done()
        manifest = cls(
            created=created,
            writer=writer,
            profile=profile,
            matching=matching,
            place=place,
            deviations=deviations,
            model=model,
            layout=layout,
            images=images,
            frames=frames,
            threshold=threshold,
            limits=limits,
            format=form,
            farthest=farthest,
            scales=scales,
            files=files,
            golden=tuple(golden),
            alignment=alignment,
        )
        manifest._check_evidence(source)
        if alignment is not None and layout.boxes:
            raise BundleError(f"{source}: expected an alignment only with one view of the whole frame, found one")
        kept = set(files) & set(LEAVE_ONE_OUT) if scales is not None else set()
        if set(files) - kept != set(manifest.roles()) or len(kept) == 1:
            raise BundleError(
                f"{source}: expected the files {', '.join(manifest.roles())}, found "
                f"{', '.join(map(short, sorted(files)[:MOST_NAMED])) or 'none'}"
            )
        return manifest


def evidence_of(images: Sequence[GoodImage], frames: Sequence[HeldBackFrame] = ()) -> Evidence:
    """Evidence from the good images that count and from held-back frames, which show no part of the gallery."""
    images = [image for image in images if image.counts]
    first = 1 + max((image.group for image in images), default=-1)
    return Evidence(
        scores=(*(image.score for image in images), *(frame.score for frame in frames)),
        groups=(*(image.group for image in images), *(first + frame.group for frame in frames)),
        map_maxima=(*(image.map_maximum for image in images), *(frame.map_maximum for frame in frames)),
    )


def golden_roles(card: ModelCard) -> tuple[str, ...]:
    """The files that hold the golden frames."""
    levels = tuple(f"golden_{level.output}" for level in card.levels)
    return ("golden_frames", *levels, "golden_distances", "golden_heatmaps")
