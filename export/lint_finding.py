"""A finding: what in a model does not fit a target, what is expected instead, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from spade_edge.runtime.legible import legible

CPU, TENSORRT = "cpu", "tensorrt"
TARGETS = (CPU, TENSORRT)
REFUSED, WARNING = "refused", "warning"


@dataclass(frozen=True)
class Finding:
    """Something in a model that does not fit a target.

    Attributes:
        severity: "refused" where onnxruntime or TensorRT would reject the file, else "warning".
        check: the check that found it, e.g. "operators".
        targets: "cpu", "tensorrt" or both.
        where: names of nodes or tensors; empty for the file as a whole.
        expected, found, remedy: for people to read.
        versions: major versions of TensorRT that the file is refused for because of this; if empty, all of them if the
            severity is "refused", and none if it is a warning.
    """

    severity: str
    check: str
    targets: tuple[str, ...]
    where: tuple[str, ...]
    expected: str
    found: str
    remedy: str
    versions: tuple[int, ...] = ()

    def refuses(self, version: int) -> bool:
        """Whether the file is refused for a major version of TensorRT because of this."""
        if TENSORRT not in self.targets:
            return False
        return version in self.versions if self.versions else self.severity == REFUSED


def foreign(node: NodeProto) -> bool:
    """Whether an operator is not one of ONNX's own."""
    return node.domain not in {"", "ai.onnx"}


def kind_of(node: NodeProto) -> str:
    """An operator's type, with its domain where it is not ONNX's own."""
    return clean(f"{node.domain}::{node.op_type}" if foreign(node) else node.op_type)


def name_of(node: NodeProto) -> str:
    """The name of a node in findings; exporters may leave nodes without one."""
    return node.name or next((name for name in node.output if name), node.op_type)


def clean(text: str) -> str:
    """Text from a file as one printable line."""
    return legible(" ".join(text.split()))
