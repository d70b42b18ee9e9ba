"""Finds how far a part is shifted and turned against the mean of good parts.

A view is reduced to 56x56 grey levels, and a local mean is subtracted, so that light does not matter. The reference,
turned by 13 angles, is laid over it at all shifts up to a quarter of the view, by Fourier transforms: the normalised
cross-correlation under a round window, where only pixels inside the view count. Gauss-Newton steps then refine the best
place to a fraction of a pixel (inverse compositional alignment: Baker & Matthews, IJCV 2004).

The search has no BLAS in it: the reduction runs on onnxruntime, transforms and sums on numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.geometry.motion import Motion
from spade_edge.runtime.geometry.resample import resampling_weights
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel

FINE = 56  # positions along each axis
COARSE = FINE // 2  # of the search
LOCAL = 13  # positions of the local mean
CLIP = 2.5  # standard deviations: a reflection should not outweigh the part
ANGLES = tuple(range(-24, 25, 4))  # degrees; the refinement finds 2 more on each side
REACH = COARSE // 4  # coarse positions along each axis: a quarter of the view
PERIOD = COARSE + REACH + 1  # of the transforms: shifts do not wrap around
NEAR = 2  # coarse positions; a second peak is farther away than this, or farther than `NEAR_ANGLE`
NEAR_ANGLE = 8  # degrees
INNER, OUTER = 0.75, 1.25  # radii of the window, in halves of the view: 1 within the inner, 0 beyond the outer
STEPS = 4  # of the refinement, at most
STILL = 0.03  # fine positions; a smaller step ends the refinement
TINY = 1e-6


@dataclass(frozen=True)
class Registered:
    """Where a part was found.

    Attributes:
        motion: how far it is shifted and turned against the reference.
        likeness: normalised cross-correlation with the reference there, -1 to 1.
        lead: how much lower the correlation is at every other place of the search.
    """

    motion: Motion
    likeness: float
    lead: float


class Relief:
    """Reduces pictures of one size to their relief: local contrasts, without the light.

    Args:
        size: (height, width) of the pictures.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        graph = Graph()
        rows, columns = (resampling_weights(side, FINE) for side in size)
        picture = graph.input("picture", np.float32, (size[0], size[1] * 3))
        grey = np.kron(columns.T, np.full((3, 1), 1 / 3, np.float32)).astype(np.float32)
        small = graph.node("MatMul", graph.node("MatMul", graph.constant(rows), picture), graph.constant(grey))
        mean = _local_mean()
        local = graph.node("MatMul", graph.node("MatMul", graph.constant(mean), small), graph.constant(mean.T))
        graph.output("relief", graph.node("Sub", small, local), np.float32)
        self._kernel = Kernel(graph, threads=1)

    def __call__(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """The relief, (56, 56) float32, of a picture, (height, width, 3) float32 BGR."""
        flat = np.ascontiguousarray(picture, np.float32).reshape(len(picture), -1)
        (relief,) = self._kernel(picture=flat)
        most = CLIP * float(relief.std())
        return np.asarray(np.clip(relief, -most, most), np.float32)


def _local_mean() -> NDArray[np.float32]:
    """Averages over `LOCAL` positions along an axis; the edges are repeated."""
    mean = np.zeros((FINE, FINE))
    for position in range(FINE):
        for offset in range(-(LOCAL // 2), LOCAL // 2 + 1):
            mean[position, min(max(position + offset, 0), FINE - 1)] += 1 / LOCAL
    return mean.astype(np.float32)


class Registration:
    """Registers reliefs against a reference.

    Args:
        reference: (56, 56) float32, the relief of the mean of good parts.
        aspect: width over height of what the view covers, in pixels of the frame.
        turns: whether to look for turns; else only for shifts.
    """

    def __init__(self, reference: NDArray[np.float32], *, aspect: float, turns: bool) -> None:
        self.aspect, self.turns = aspect, turns
        self._angles = ANGLES if turns else (0,)
        self._found = (len(self._angles), 2 * REACH + 1, 2 * REACH + 1)
        whole = np.asarray(reference, np.float32)
        self._reference = whole.ravel()[_EVERY_OTHER]
        self._changes = [change.ravel()[_EVERY_OTHER] for change in self._jacobian(whole)]

        window = _halved(_WINDOW.reshape(FINE, FINE))
        turned = np.stack([self._turned(whole, angle) for angle in self._angles])
        inside = _transform(np.ones((COARSE, COARSE), np.float32))
        self._of_window = np.conj(_transform(window))
        self._of_reference = np.conj(_transform(window * turned))
        pixels = _correlated(inside * self._of_window)
        self._pixels = np.maximum(pixels, np.float32(TINY))
        # Sums over the part of the window that lies inside the view, for each shift.
        self._sum = _correlated(inside * self._of_reference)
        squares = _correlated(inside * np.conj(_transform(window * turned**2)))
        self._variance = np.maximum(squares - self._sum**2 / self._pixels, np.float32(TINY))

    def __call__(self, relief: NDArray[np.float32]) -> Registered:
        """Find the reference in a relief, (56, 56) float32."""
        correlation = self._search(_halved(relief))
        best = int(correlation.argmax())
        motion, likeness = self._refined(relief.ravel(), best)
        # From the refined likeness: that of the search is lower where the part lies between its positions.
        lead = likeness - float(correlation[self._elsewhere(best)].max())
        return Registered(motion=motion, likeness=likeness, lead=lead)

    def rival(self, relief: NDArray[np.float32]) -> float:
        """The likeness at the best place that is far from the one found, refined as well.

        In a pattern that repeats, this is as high as that found. The search alone does not show it where the period is
        no multiple of its positions.
        """
        correlation = self._search(_halved(relief))
        found, _ = self._refined(relief.ravel(), int(correlation.argmax()))
        correlation[~self._elsewhere(int(correlation.argmax()))] = -1
        other, likeness = self._refined(relief.ravel(), int(correlation.argmax()))
        apart = max(abs(other.right - found.right), abs(other.down - found.down)) * COARSE
        same = apart <= NEAR and abs(other.angle - found.angle) <= NEAR_ANGLE
        return float(correlation.max()) if same else likeness  # the refinement may lead from one place to the other

    def _search(self, relief: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised cross-correlation, (angles, shifts down, shifts right)."""
        spectrum, squared = _transform(relief), _transform(relief * relief)
        found = _correlated(np.concatenate([spectrum * self._of_reference, (spectrum * self._of_window)[np.newaxis]]))
        sums = found[-1]
        variance = _correlated(squared * self._of_window) - sums * sums / self._pixels
        covariance = found[:-1] - sums * self._sum / self._pixels
        return np.asarray(covariance / np.sqrt(np.maximum(variance, np.float32(TINY)) * self._variance), np.float32)

    def _refined(self, relief: NDArray[np.float32], place: int) -> tuple[Motion, float]:
        """Gauss-Newton steps from a place of the search; where they lead, and the likeness there."""
        turn, row, column = np.unravel_index(place, self._found)
        right, down = 2.0 * (int(column) - REACH), 2.0 * (int(row) - REACH)
        angle = math.radians(self._angles[int(turn)])
        count = 3 if self.turns else 2
        for step in range(STEPS + 1):
            seen, inside = self._sampled(relief, right, down, angle, _EVERY_OTHER)
            weights = _WINDOW_THERE * inside
            total = max(float(weights.sum()), TINY)
            reference = self._reference - float((weights * self._reference).sum()) / total
            seen = seen - float((weights * seen).sum()) / total
            weighted = weights * reference
            product, own = float((weighted * seen).sum()), float((weighted * reference).sum())
            likeness = product / math.sqrt(max(own * float((weights * seen * seen).sum()), TINY))
            if step == STEPS or product <= 0 or own <= TINY:
                break
            gain = product / own
            error = weights * (seen - gain * reference)
            changes = self._changes[:count]
            slope = np.array([float((change * error).sum()) for change in changes]) / gain
            normal = np.empty((count, count))
            for i, change in enumerate(changes):
                by_weight = weights * change
                for j in range(i + 1):
                    normal[i, j] = normal[j, i] = float((by_weight * changes[j]).sum())
            normal += TINY * max(np.trace(normal), TINY) * np.eye(count)
            move = np.linalg.solve(normal, slope)
            most = np.array([2.0, 2.0, 0.05])[:count]
            move = np.clip(move, -most, most)
            if self.turns:
                angle -= float(move[2])
            (a, b), (c, d) = Motion(angle=math.degrees(angle)).matrix(self.aspect)
            right -= a * float(move[0]) + b * float(move[1])
            down -= c * float(move[0]) + d * float(move[1])
            if np.abs(move * [1, 1, FINE / 2][:count]).max() < STILL:
                break
        return Motion(right=right / FINE, down=down / FINE, angle=math.degrees(angle)), likeness

    def _sampled(
        self, relief: NDArray[np.float32], right: float, down: float, angle: float, positions: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The relief, (56 * 56,), where some positions of the reference lie, bilinear, and whether that is inside."""
        (a, b), (c, d) = Motion(angle=math.degrees(angle)).matrix(self.aspect)
        middle, last = (FINE - 1) / 2, FINE - 1
        from_centre_x, from_centre_y = _X[positions], _Y[positions]
        x = np.float32(a) * from_centre_x + np.float32(b) * from_centre_y + np.float32(middle + right)
        y = np.float32(c) * from_centre_x + np.float32(d) * from_centre_y + np.float32(middle + down)
        inside = (x >= 0) & (x <= last) & (y >= 0) & (y <= last)
        np.clip(x, 0, last, out=x)
        np.clip(y, 0, last, out=y)
        left, top = np.minimum(x.astype(np.intp), last - 1), np.minimum(y.astype(np.intp), last - 1)
        x -= left
        y -= top
        corner = top * FINE + left
        upper = relief[corner] * (1 - x) + relief[corner + 1] * x
        lower = relief[corner + FINE] * (1 - x) + relief[corner + FINE + 1] * x
        return upper * (1 - y) + lower * y, inside

    def _turned(self, reference: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
        """The reference turned by an angle in degrees, (28, 28); 0 where nothing is known of it."""
        seen, inside = self._sampled(reference.ravel(), 0.0, 0.0, math.radians(-angle), np.arange(FINE * FINE))
        return _halved((seen * inside).reshape(FINE, FINE))

    def _jacobian(self, reference: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """How each position changes with a shift to the right, one down and a turn, each (56, 56)."""
        down, right = np.gradient(reference)
        x, y = _centred(FINE)
        turn = x * self.aspect * down - y / self.aspect * right
        return [np.asarray(change, np.float32) for change in (right, down, turn)]

    def _elsewhere(self, place: int) -> NDArray[np.bool_]:
        """Places of the search that are far from one: (angles, shifts down, shifts right)."""
        turn, row, column = np.unravel_index(place, self._found)
        shifts = np.arange(2 * REACH + 1)
        turned = np.abs(np.array(self._angles) - self._angles[int(turn)]) > NEAR_ANGLE
        below, beside = np.abs(shifts - row) > NEAR, np.abs(shifts - column) > NEAR
        return np.asarray(turned[:, np.newaxis, np.newaxis] | below[:, np.newaxis] | beside)


def _centred(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions from the centre, x and y, each (side, side)."""
    along = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(along, along)
    return x.astype(np.float32), y.astype(np.float32)


def _halved(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4, np.float32)


def _transform(values: NDArray[np.float32]) -> NDArray[np.complex128]:
    # In double precision, as older versions of numpy would do anyway.
    return np.asarray(np.fft.rfft2(values.astype(np.float64), (PERIOD, PERIOD)), np.complex128)


_SHIFTS = np.arange(-REACH, REACH + 1) % PERIOD


def _correlated(product: NDArray[np.complex128]) -> NDArray[np.float32]:
    """From the product of transforms to the sums at each shift, (…, shifts down, shifts right)."""
    sums = np.fft.irfft2(product, (PERIOD, PERIOD))
    return np.asarray(sums[..., _SHIFTS[:, np.newaxis], _SHIFTS], np.float32)


def _round_window() -> NDArray[np.float32]:
    x, y = _centred(FINE)
    radius = np.hypot(x, y) / (FINE / 2)
    return np.clip((OUTER - radius) / (OUTER - INNER), 0, 1).astype(np.float32).ravel()


_WINDOW = _round_window()
_X, _Y = (axis.ravel() for axis in _centred(FINE))
# The refinement looks at every other position, as on a chessboard: neighbours tell nearly the same.
_EVERY_OTHER = np.flatnonzero(np.add.outer(np.arange(FINE), np.arange(FINE)).ravel() % 2 == 0)
_WINDOW_THERE = _WINDOW[_EVERY_OTHER]
