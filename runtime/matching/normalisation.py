"""Normalisation: the features of a level at one position as a direction, without their length.

How strongly a network responds varies with contrast and light; which of its channels respond says what is seen. So a
level's features at a position are divided by their length, and good and defective places differ in direction only.
Taking the square root first keeps the few strongest channels from outweighing all others: with y = x / Σ x, the
squared distance of √y and √y' is twice the squared Hellinger distance of y and y' (Arandjelović & Zisserman 2012, who
call it RootSIFT). Features that may be negative get the root of their size, with their sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.network.pyramid import Pyramid

NONE, LENGTH, ROOT = "none", "length", "root"
LEAST = 1e-12  # length that features of 0 are divided by


def normalised(pyramid: Pyramid, how: str) -> Pyramid:
    """Normalise each level of a view at each of its own positions.

    Args:
        pyramid: features as the network outputs them.
        how: "root", square roots, then brought to length 1; "length", brought to length 1; "none", unchanged.
    """
    return Pyramid(levels=tuple(_normalised(level, how) for level in pyramid.levels), descriptor=pyramid.descriptor)


def _normalised(level: NDArray[np.float32], how: str) -> NDArray[np.float32]:
    if how == ROOT:
        total = np.abs(level).sum(axis=-1, keepdims=True)
        return np.sign(level) * np.sqrt(np.abs(level) / np.maximum(total, np.float32(LEAST)))
    if how == LENGTH:
        length = np.sqrt(np.square(level).sum(axis=-1, keepdims=True))
        return np.asarray(level / np.maximum(length, np.float32(LEAST)), np.float32)
    return level


def add_normalisation(graph: Graph, features: str, how: str, *, signed: bool) -> str:
    """Add the same to a graph; returns the name of the normalised features.

    Args:
        graph: the graph.
        features: name of (…, C) float32.
        how: as above.
        signed: whether features may be negative; if not, those below 0 count as 0.
    """
    if how == NONE:
        return features
    channels, least = graph.constant(np.array([-1], np.int64)), graph.constant(np.array(LEAST, np.float32))
    if how == LENGTH:
        length = graph.node("Sqrt", graph.node("ReduceSumSquare", features, axes=(-1,)))
        return str(graph.node("Div", features, graph.node("Max", length, least)))
    sizes = graph.node("Abs", features) if signed else graph.node("Relu", features)
    total = graph.node("Max", graph.node("ReduceSum", sizes, channels), least)
    roots = graph.node("Sqrt", graph.node("Div", sizes, total))
    return str(graph.node("Mul", graph.node("Sign", features), roots) if signed else roots)
