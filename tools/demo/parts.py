"""Sample parts for the demo and the tests: a machined flange on a conveyor belt, drawn by this file alone.

A part is a height field and a few material maps. Lit from the upper left, it is seen by a camera that looks straight
down. What varies between good parts is what varies on a real line: pose, light, brush marks, the turn of each screw,
dust, the belt beneath and the sensor's noise. A defect changes the height field or the material, so that its light and
shade come from the same lamp as the rest.

    image = render_good(7)
    image, mask = render_defect("scratch", 7)     # the same part, scratched
    write_dataset("flange")                       # an MVTec AD folder

Lengths are fractions of the flange's half width: x to the right and y down, both 0 in the middle of the bore and about
±1 at the flange's edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.errors import UsageError
from spade_edge.tools.output import replacing

Field = NDArray[np.floating[Any]]  # (H, W) float32, one value for each pixel, unless told otherwise

EDGE = 0.22  # radius of the flange's corners
BORE = 0.345  # radius of the hole in the middle
COLLAR = 0.60  # outer radius of the raised, turned ring around it
SCREWS = ((-0.72, -0.72), (0.72, -0.72), (0.72, 0.72), (-0.72, 0.72))
SCREW_HEAD = 0.128
COUNTERBORE = 0.165
PINS = ((-0.80, 0.0), (0.80, 0.0))
PIN = 0.052

STEEL = (0.60, 0.595, 0.58)  # BGR reflectances, linear light
ZINC = (0.70, 0.715, 0.70)
BELT = (0.060, 0.064, 0.052)


@dataclass(frozen=True)
class Scene:
    """Where each pixel lies on the part; all that `seed` decides before the camera's noise.

    Attributes:
        x, y: (H, W) float32, the pixel's place on the part.
        pixel: size of a pixel, as a fraction of the flange's half width.
        turn: of the part against the camera, radians.
        seed: of the textures.
    """

    x: Field
    y: Field
    pixel: float
    turn: float
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.x.shape[0], self.x.shape[1]


@dataclass(frozen=True)
class Flaw:
    """What a defect changes; the default changes nothing.

    Attributes:
        mask: (H, W) bool, where the defect is, before anything is cut off.
        notch: (H, W), moves the flange's outline inwards (> 0) or outwards.
        height: (H, W), added to the surface.
        tint: (H, W, 3) float32 BGR, multiplied with the reflectance.
        gloss: (H, W), multiplied with the mirror-like part of the reflection.
        bare: number of the screw hole that has no screw.
    """

    mask: NDArray[np.bool_]
    notch: Field | float = 0.0
    height: Field | float = 0.0
    tint: Field | float = 1.0
    gloss: Field | float = 1.0
    bare: int = -1


@dataclass(frozen=True)
class Surface:
    """A part as it was made.

    Attributes:
        height: (H, W), of the surface.
        part: (H, W), fraction of each pixel that the part covers.
        collar: (H, W), fraction that is the turned collar; the rest is brushed from left to right.
        zinc: (H, W), fraction that is a zinc-plated screw; the rest is bare steel.
        dark: (H, W), fraction of the light that a hole swallows.
        lettering: (H, W), fraction that is stamped.
        marks: (H, W), of brush and lathe, mean 0.
    """

    height: Field
    part: Field
    collar: Field
    zinc: Field
    dark: Field
    lettering: Field
    marks: Field


def render_good(seed: int, *, size: int = 320) -> NDArray[np.uint8]:
    """Draw a good part.

    Args:
        seed: decides everything that varies; the same seed gives the same pixels.
        size: height and width of the image, at least 32.

    Returns:
        (size, size, 3) uint8 BGR.
    """
    scene = pose(seed, size=size)
    return photograph(scene, Flaw(mask=np.zeros(scene.shape, dtype=bool)))


def render_defect(kind: str, seed: int, *, size: int = 320) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw the part that `render_good` draws with the same seed, with a defect.

    Args:
        kind: one of `DEFECTS`.
        seed: decides the part, and the defect's place and size.
        size: height and width of the image, at least 32.

    Returns:
        The image, (size, size, 3) uint8 BGR, and where the defect is, (size, size) bool.
    """
    if kind not in _FLAWS:
        raise UsageError(f"expected a defect out of {', '.join(DEFECTS)}, found '{kind}'")
    scene = pose(seed, size=size)
    flaw = _FLAWS[kind](scene, np.random.default_rng([seed, 2, DEFECTS.index(kind)]))
    return photograph(scene, flaw), flaw.mask


def write_dataset(
    folder: str | Path, *, good: int = 60, test_good: int = 10, per_defect: int = 4, seed: int = 0, size: int = 320
) -> None:
    """Write a data set in the layout of MVTec AD.

        train/good/000.png …   test/good/000.png …   test/scratch/000.png …   ground_truth/scratch/000_mask.png …

    Args:
        folder: is made if it is missing; files of the same names are replaced.
        good: number of good parts to train on.
        test_good: number of good parts to test with.
        per_defect: number of defective parts of each kind.
        seed: the same seed gives the same files.
        size: height and width of the images.
    """
    folder = Path(folder)
    part = seed * 100_000  # each image shows another part
    for number in range(good):
        _write(folder / "train" / "good" / f"{number:03d}.png", render_good(part + number, size=size))
    part += good
    for number in range(test_good):
        _write(folder / "test" / "good" / f"{number:03d}.png", render_good(part + number, size=size))
    part += test_good
    for kind in DEFECTS:
        for number in range(per_defect):
            image, mask = render_defect(kind, part + number, size=size)
            _write(folder / "test" / kind / f"{number:03d}.png", image)
            _write(folder / "ground_truth" / kind / f"{number:03d}_mask.png", mask.astype(np.uint8) * 255)
        part += per_defect


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    # Not cv2.imwrite: it gives no reason for a failure and cannot write some names on Windows.
    with replacing(path) as file:
        file.write(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 2])[1].tobytes())


# The part


def pose(seed: int, *, size: int = 320) -> Scene:
    """Put a part under the camera: up to 3 pixels (of 320) and 1.5° off the middle."""
    if size < 32:
        raise UsageError(f"expected an image size of at least 32 pixels, found {size}")
    if seed < 0:
        raise UsageError(f"expected a seed of 0 or more, found {seed}")
    rng = np.random.default_rng([seed, 0])
    shift_x, shift_y = (float(shift) * size / 320 for shift in rng.uniform(-3, 3, size=2))
    turn = math.radians(rng.uniform(-1.5, 1.5))
    pixel = 1 / (0.40 * size * rng.uniform(0.995, 1.005))
    row, column = np.mgrid[0:size, 0:size].astype(np.float32)
    right = (column - (size - 1) / 2 - shift_x) * pixel
    down = (row - (size - 1) / 2 - shift_y) * pixel
    x = right * math.cos(turn) + down * math.sin(turn)
    y = down * math.cos(turn) - right * math.sin(turn)
    return Scene(x=x.astype(np.float32), y=y.astype(np.float32), pixel=pixel, turn=turn, seed=seed)


def photograph(scene: Scene, flaw: Flaw) -> NDArray[np.uint8]:
    """Light the part and take the picture, (H, W, 3) uint8 BGR."""
    rng = np.random.default_rng([scene.seed, 1])
    surface = machine(scene, flaw, rng)
    bearing = math.radians(228 + rng.normal(0, 1.5)) - scene.turn  # the lamp does not turn with the part
    lamp = math.cos(bearing), math.sin(bearing)
    belt = _belt_around(scene, flaw, surface, lamp, rng)
    image = belt + surface.part[..., None] * (_metal(scene, flaw, surface, lamp) - belt)
    return _expose(image * _dust(scene, rng)[..., None], scene, rng)


def machine(scene: Scene, flaw: Flaw, rng: np.random.Generator) -> Surface:
    """Make the part: plate, collar, bore, screws in counterbores, pin holes, lettering."""
    x, y, pixel = scene.x, scene.y, scene.pixel
    radius = np.hypot(x, y)
    outline = _rounded_square(x, y) + flaw.notch
    height = 0.05 * _ramp(-outline, 0.035)
    height += 0.045 * _ramp(COLLAR - radius, 0.035) - 0.05 * _ramp(BORE + 0.035 - radius, 0.035)
    zinc, dark = np.zeros_like(radius), np.zeros_like(radius)
    for number, (screw_x, screw_y) in enumerate(SCREWS):
        at_x, at_y = x - screw_x, y - screw_y
        away = np.hypot(at_x, at_y)
        height -= 0.030 * _ramp(COUNTERBORE - away, 0.02)
        turn = rng.uniform(0, math.pi / 3)  # nobody aligns the sockets
        if number == flaw.bare:
            height -= 0.05 * _ramp(0.088 - away, 0.03)
            dark = np.maximum(dark, 0.96 * _cover(0.076 - away, pixel))
            continue
        dome = np.sqrt(np.clip(1 - (away / (1.25 * SCREW_HEAD)) ** 2, 0, 1))
        socket = 0.062 - _hexagon(at_x, at_y, turn)
        height += _ramp(SCREW_HEAD - away, 0.022) * (0.03 + 0.05 * dome) - 0.06 * _ramp(socket, 0.018)
        zinc = np.maximum(zinc, _cover(SCREW_HEAD - away, pixel))
        dark = np.maximum(dark, 0.80 * _cover(socket - 0.012, pixel))
    for pin_x, pin_y in PINS:
        away = np.hypot(x - pin_x, y - pin_y)
        height -= 0.05 * _ramp(PIN + 0.014 - away, 0.02)
        dark = np.maximum(dark, 0.94 * _cover(PIN - away, pixel))
    lettering = _lettering(scene)
    height += flaw.height - 0.010 * lettering
    collar = _cover(COLLAR - radius, pixel)
    brushed = _brush_marks(scene, rng)
    return Surface(
        height=_blurred(height, 0.6),  # no edge is a razor
        part=_cover(-outline, pixel) * _cover(radius - BORE, pixel),
        collar=collar,
        zinc=zinc,
        dark=dark,
        lettering=lettering,
        marks=brushed + collar * (_turning_marks(radius, rng) - brushed),
    )


def _metal(scene: Scene, flaw: Flaw, surface: Surface, lamp: tuple[float, float]) -> Field:
    """Light on the part, (H, W, 3) BGR: a lamp at the upper left, mirrored as a soft streak across the brush marks."""
    x, y = scene.x, scene.y
    slope_y, slope_x = np.gradient(surface.height, scene.pixel)
    upright = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    normal_x, normal_y = -slope_x * upright, -slope_y * upright
    diffuse = np.clip(0.74 * (normal_x * lamp[0] + normal_y * lamp[1]) + 0.67 * upright, 0, None)

    passing_x = 2 * normal_x + 0.20 * x - 0.50 * lamp[0]  # how far the mirrored view passes by the lamp
    passing_y = 2 * normal_y + 0.20 * y - 0.50 * lamp[1]
    passing = passing_x**2 + passing_y**2
    along = passing_x**2  # its part along the marks: from left to right on the plate, around on the collar
    along += surface.collar * ((passing_y * x - passing_x * y) ** 2 / (x**2 + y**2 + 1e-6) - along)
    narrow = (0.36 - 0.10 * surface.collar) ** 2
    mirror = np.exp(-along / narrow - (passing - along) / 0.95**2) * (1 + 0.16 * surface.marks) * flaw.gloss
    glint = np.exp(-passing / 0.17**2) * flaw.gloss  # on edges and domes

    # Deep places see less of the sky.
    deep = np.clip(_blurred(surface.height, 0.045 / scene.pixel) - surface.height, 0, 0.05) / 0.05
    shade = (0.08 + 0.27 * diffuse) * (1 - 0.55 * deep) + 0.72 * mirror

    zinc = surface.zinc[..., None]
    reflectance = (_bgr(STEEL) * (1 - zinc) + _bgr(ZINC) * zinc) * flaw.tint
    worn = (1 + 0.055 * surface.marks * (1 - surface.zinc)) * (1 - 0.34 * surface.lettering)
    lit = reflectance * (worn * shade)[..., None] + 0.34 * glint[..., None]
    return lit * (1 - surface.dark)[..., None]


def _belt_around(
    scene: Scene, flaw: Flaw, surface: Surface, lamp: tuple[float, float], rng: np.random.Generator
) -> Field:
    """What is seen beside the part and through its bore, (H, W, 3) BGR: the belt in its shadow, the bore's wall."""
    radius = np.hypot(scene.x, scene.y)
    from_x, from_y = scene.x + 0.085 * lamp[0], scene.y + 0.085 * lamp[1]  # where light is kept from
    shadow = _cover(-_rounded_square(from_x, from_y) - flaw.notch, scene.pixel)
    shadow *= _cover(np.hypot(from_x, from_y) - BORE, scene.pixel)
    shadow = _blurred(np.maximum(shadow, surface.part), 0.028 / scene.pixel)
    light = (1 - 0.80 * shadow) * np.where(radius < COLLAR, np.float32(0.72), np.float32(1))
    wall = _cover(BORE - radius, scene.pixel) * np.exp(-np.abs(BORE - radius) / 0.028)
    facing = np.clip(-(scene.x * lamp[0] + scene.y * lamp[1]) / (radius + 1e-6), 0, 1)
    wall = wall * (0.05 + 0.42 * facing**2)
    return _belt(scene, rng) * light[..., None] + wall[..., None] * _bgr(STEEL)


def _expose(image: Field, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lens and sensor: uneven light, white balance, blur, noise, tone curve."""
    size = scene.shape[0]
    across = np.linspace(-1, 1, size, dtype=np.float32)
    column, row = across[np.newaxis, :], across[:, np.newaxis]
    tilt_x, tilt_y = rng.normal(-0.10, 0.03), rng.normal(-0.11, 0.03)
    light = rng.normal(1.0, 0.03) * (1 + tilt_x * column + tilt_y * row) * (1 - 0.07 * (column**2 + row**2))
    balance = rng.normal((1.02, 1.0, 0.985), 0.006).astype(np.float32)
    image = _blurred(image * light[..., None] * balance, max(0.3, 0.62 * size / 320))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + noise * np.sqrt(0.00002 + 0.00016 * np.clip(image, 0, 1))
    image = np.clip(1.30 * image, 0, None)
    image = image * (1 + 0.16 * image) / (1 + 0.34 * image)  # a shoulder, so that glints do not burn out
    return (np.clip(image, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def _bgr(colour: tuple[float, float, float]) -> Field:
    return np.array(colour, dtype=np.float32)


def _blurred(field: Field, sigma: float, sigma_y: float = 0) -> Field:
    """Gaussian blur; `sigma_y` is the same as `sigma` unless it is told."""
    return np.asarray(cv2.GaussianBlur(field.astype(np.float32), (0, 0), sigmaX=sigma, sigmaY=sigma_y))


def _rounded_square(x: Field, y: Field) -> Field:
    """Signed distance from the flange's outline, negative inside."""
    over_x, over_y = np.abs(x) - (1 - EDGE), np.abs(y) - (1 - EDGE)
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0))
    return np.asarray(outside + np.minimum(np.maximum(over_x, over_y), 0) - EDGE, dtype=np.float32)


def _hexagon(x: Field, y: Field, turn: float) -> Field:
    """Distance from the middle, measured across the flats of a hexagon."""
    sides = [
        np.abs(x * math.cos(turn + side * math.pi / 3) + y * math.sin(turn + side * math.pi / 3)) for side in range(3)
    ]
    return np.asarray(np.maximum.reduce(sides), dtype=np.float32)


def _ramp(inside: Field, width: float) -> Field:
    """0 outside, 1 from `width` inside the edge on, with a rounded chamfer between."""
    share = np.clip(inside / width, 0, 1)
    return np.asarray(share * (2 - share), dtype=np.float32)


def _cover(inside: Field, pixel: float) -> Field:
    """Fraction of each pixel that lies inside an edge."""
    return np.asarray(np.clip(inside / pixel + 0.5, 0, 1), dtype=np.float32)


def _on_part(scene: Scene, texture: Field, reach: float = 1.3) -> Field:
    """Lay a texture that spans ±`reach` on the part."""
    rows, columns = texture.shape
    return cv2.remap(
        texture,
        (scene.x / reach + 1) * ((columns - 1) / 2),
        (scene.y / reach + 1) * ((rows - 1) / 2),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    ).astype(np.float32, copy=False)


def _lettering(scene: Scene) -> Field:
    """The part number, stamped above the lower edge."""
    plate = np.zeros((1040, 1040), dtype=np.uint8)  # 400 pixels for each unit
    cv2.putText(plate, "SE-40 7A", (372, 872), cv2.FONT_HERSHEY_SIMPLEX, 1.9, 255, 10, cv2.LINE_AA)
    return _on_part(scene, _blurred(plate / np.float32(255), 1.5))


def _brush_marks(scene: Scene, rng: np.random.Generator) -> Field:
    """Long marks from left to right, mean 0, variance about 1."""
    size = scene.shape[0]
    rough = rng.standard_normal((size, size), dtype=np.float32)
    fine, broad = _blurred(rough, 0.10 * size, 0.55), _blurred(rough.T, 0.12 * size, 2.5)
    return _on_part(scene, 0.85 * fine / fine.std() + 0.5 * broad / broad.std())


def _turning_marks(radius: Field, rng: np.random.Generator) -> Field:
    """Fine rings that a lathe leaves."""
    rings = rng.standard_normal(140)
    return np.interp(radius, np.linspace(0, 0.75, rings.size), rings).astype(np.float32)


def _belt(scene: Scene, rng: np.random.Generator) -> Field:
    """A woven rubber belt, (H, W, 3) float32 BGR; it never stops at the same place twice."""
    size = scene.shape[0]
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) * (320 / size)
    phase_x, phase_y = rng.uniform(0, 2 * np.pi, size=2)
    weave = np.sin(column * 2 * np.pi / 7 + phase_x) * np.sin(row * 2 * np.pi / 7 + phase_y)
    rough = rng.standard_normal((size, size), dtype=np.float32)
    worn = _blurred(rough, size / 12, size / 26)
    shade = 1 + 0.14 * weave + 0.10 * rough + 0.11 * worn / worn.std()
    return np.asarray(np.clip(shade, 0.2, None)[..., None] * _bgr(BELT), dtype=np.float32)


def _dust(scene: Scene, rng: np.random.Generator) -> Field:
    """A few specks too small to matter, on the part, on the belt or on the lens."""
    size = scene.shape[0]
    specks = np.zeros(scene.shape, dtype=np.float32)
    rows, columns = rng.integers(0, size, size=(2, 14))
    specks[rows, columns] = rng.uniform(-0.5, 0.35, size=14)
    return 1 + _blurred(specks, 0.6)


# Defects


def _scratch(scene: Scene, rng: np.random.Generator) -> Flaw:
    """A tool dragged over the brushed face: a bright groove with a burr."""
    start_x, start_y = _on_face(rng)
    length, bend = rng.uniform(0.22, 0.55), rng.uniform(-0.5, 0.5)
    heading = np.arctan2(-start_y, -start_x) + rng.choice([-1, 1]) * rng.uniform(0.9, 1.5)
    steps = np.linspace(-0.5, 0.5, 9)
    path = np.stack(
        [
            start_x + length * steps * np.cos(heading + bend * steps),
            start_y + length * steps * np.sin(heading + bend * steps),
        ],
        axis=1,
    )
    away, share = _from_path(scene, path)
    width = rng.uniform(0.008, 0.014) * (0.35 + np.sin(np.pi * np.clip(share, 0.02, 0.98)))
    groove = rng.uniform(0.55, 1.0) * _line(away, width, scene.pixel)
    return Flaw(
        mask=_solid(away < np.maximum(1.2 * width, 0.9 * scene.pixel), scene),
        height=-0.010 * groove,
        tint=1 + 0.75 * groove[..., None] * np.ones(3, dtype=np.float32),
        gloss=1 + 0.6 * groove,
    )


def _dent(scene: Scene, rng: np.random.Generator) -> Flaw:
    """A knock: a pit with a raised rim."""
    x, y = _on_face(rng)
    size, oval, turn = rng.uniform(0.055, 0.10), rng.uniform(0.65, 1.0), rng.uniform(0, np.pi)
    along = (scene.x - x) * np.cos(turn) + (scene.y - y) * np.sin(turn)
    across = ((scene.y - y) * np.cos(turn) - (scene.x - x) * np.sin(turn)) / oval
    away = np.hypot(along, across) / size
    depth = size * rng.uniform(0.28, 0.60)
    pit = np.exp(-(away**2) * 1.6) - 0.25 * np.exp(-((away - 1.25) ** 2) * 10)
    return Flaw(mask=away < 1.3, height=-depth * pit)


def _missing_screw(scene: Scene, rng: np.random.Generator) -> Flaw:
    """A screw was forgotten: its threaded hole is open."""
    bare = int(rng.integers(len(SCREWS)))
    return Flaw(mask=np.hypot(scene.x - SCREWS[bare][0], scene.y - SCREWS[bare][1]) < SCREW_HEAD, bare=bare)


def _stain(scene: Scene, rng: np.random.Generator) -> Flaw:
    """Oil or rust: a ragged brown film that dulls the metal."""
    x, y = _on_face(rng)
    size, strength = rng.uniform(0.12, 0.20), rng.uniform(0.45, 1.0)
    ragged, fine = _cloud(scene, rng, 16), _cloud(scene, rng, 90)
    away = np.hypot(scene.x - x, (scene.y - y) * rng.uniform(0.9, 1.5)) / size
    film = 1 / (1 + np.exp(np.clip(away - 1 + 0.24 * ragged + 0.06 * fine, -2, 2) * 14))
    film *= np.exp(-(np.maximum(away - 1.4, 0) ** 2) * 30)  # keeps the blot in one piece
    film *= np.clip(0.80 + 0.18 * fine + 0.25 * (away > 0.75), 0.3, 1) * strength
    film *= _cover(-_rounded_square(scene.x, scene.y), scene.pixel)
    film *= _cover(np.hypot(scene.x, scene.y) - BORE, scene.pixel)
    absorbed = _bgr((0.86, 0.68, 0.46))  # rust keeps red
    return Flaw(mask=film > 0.22 * strength, tint=1 - film[..., None] * absorbed, gloss=1 - 0.75 * film)


def _crack(scene: Scene, rng: np.random.Generator) -> Flaw:
    """A fatigue crack: a jagged dark line that starts at the bore or at the outer edge and thins out."""
    side = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        at = np.array([np.cos(side), np.sin(side)]) * (BORE + 0.01)
        heading = side
    else:
        along = rng.uniform(-0.45, 0.45)
        heading = np.pi / 2 * rng.integers(4)
        at = np.array([np.cos(heading), np.sin(heading)]) * 0.985
        at += np.array([-np.sin(heading), np.cos(heading)]) * along
        heading += np.pi
    heading += rng.uniform(-0.35, 0.35)
    path = [at]
    for _ in range(int(rng.integers(7, 11))):
        jag = heading + rng.normal(0, 0.55)
        path.append(path[-1] + rng.uniform(0.025, 0.055) * np.array([np.cos(jag), np.sin(jag)]))
    away, share = _from_path(scene, np.array(path))
    width = rng.uniform(0.009, 0.015) * (1.15 - share)
    gap = _line(away, width, scene.pixel)
    gap *= _cover(np.hypot(scene.x, scene.y) - BORE, scene.pixel)
    gap *= _cover(-_rounded_square(scene.x, scene.y), scene.pixel)
    near = (away < np.maximum(1.3 * width, 0.9 * scene.pixel)) & (np.hypot(scene.x, scene.y) > BORE)
    return Flaw(
        mask=_solid(near & (_rounded_square(scene.x, scene.y) < 0), scene),
        height=-0.012 * gap,
        tint=1 - 0.90 * gap[..., None] * np.ones(3, dtype=np.float32),
        gloss=1 - 0.95 * gap,
    )


def _bent_edge(scene: Scene, rng: np.random.Generator) -> Flaw:
    """The part was dropped on its edge: the outline is pushed in and the metal bulges behind it."""
    heading = np.pi / 2 * rng.integers(4)
    along = rng.uniform(-0.5, 0.5)
    width, depth = rng.uniform(0.07, 0.15), rng.uniform(0.035, 0.085)
    inwards = 1 - (scene.x * np.cos(heading) + scene.y * np.sin(heading))  # from that edge
    sideways = -scene.x * np.sin(heading) + scene.y * np.cos(heading) - along
    hit = np.exp(-((sideways / width) ** 2)) * np.exp(-((np.maximum(inwards, 0) / 0.22) ** 2))
    ridge = np.exp(-((sideways / width) ** 2)) * np.exp(-(((inwards - depth - 0.06) / 0.05) ** 2))
    return Flaw(
        mask=(hit > 0.15) & (inwards > -0.5 * scene.pixel) & (inwards < depth + 0.14),
        notch=(depth * hit * 1.05).astype(np.float32),
        height=(0.55 * depth * ridge).astype(np.float32),
    )


def _on_face(rng: np.random.Generator) -> tuple[float, float]:
    """A place on the flat face, between the collar, the screws and the edge."""
    heading, along, out = np.pi / 2 * rng.integers(4), rng.uniform(-0.42, 0.42), rng.uniform(0.70, 0.84)
    return float(out * np.cos(heading) - along * np.sin(heading)), float(
        out * np.sin(heading) + along * np.cos(heading)
    )


def _cloud(scene: Scene, rng: np.random.Generator, grains: int) -> Field:
    """Smooth noise with `grains` grains across the part."""
    noise = rng.standard_normal((grains, grains), dtype=np.float32)
    return _on_part(scene, np.asarray(cv2.resize(noise, (520, 520), interpolation=cv2.INTER_CUBIC)))


def _from_path(scene: Scene, path: NDArray[np.float64]) -> tuple[Field, Field]:
    """Distance of each pixel from a line of (n, 2) points, and how far along the line (0 to 1) the nearest point is."""
    away = np.full(scene.shape, np.inf, dtype=np.float32)
    share = np.zeros(scene.shape, dtype=np.float32)
    pieces = len(path) - 1
    for number in range(pieces):
        (from_x, from_y), (step_x, step_y) = path[number], path[number + 1] - path[number]
        foot = ((scene.x - from_x) * step_x + (scene.y - from_y) * step_y) / (step_x**2 + step_y**2)
        foot = np.clip(foot, 0, 1)
        here = np.hypot(scene.x - from_x - foot * step_x, scene.y - from_y - foot * step_y)
        share = np.where(here < away, (number + foot) / pieces, share).astype(np.float32)
        away = np.minimum(away, here).astype(np.float32)
    return away, share


def _line(away: Field, width: Field, pixel: float) -> Field:
    """A line's strength, 1 in its middle; one thinner than a pixel grows fainter instead of breaking into dots."""
    seen = np.hypot(width, 0.75 * pixel)
    return np.asarray(width / seen * np.exp(-((away / seen) ** 2)), dtype=np.float32)


def _solid(mask: NDArray[np.bool_], scene: Scene) -> NDArray[np.bool_]:
    """A thin mask without gaps, about a pixel wider on each side, as a person would draw it."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)).astype(bool)


_FLAWS: dict[str, Callable[[Scene, np.random.Generator], Flaw]] = {
    "scratch": _scratch,
    "dent": _dent,
    "missing_screw": _missing_screw,
    "stain": _stain,
    "crack": _crack,
    "bent_edge": _bent_edge,
}
DEFECTS: tuple[str, ...] = tuple(_FLAWS)
