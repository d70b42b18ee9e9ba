"""A finding: what in a model does not fit a target, what would, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

CPU, TENSORRT = "cpu", "tensorrt"
TARGETS = (CPU, TENSORRT)
REFUSED, WARNING = "refused", "warning"


@dataclass(frozen=True)
class Finding:
    """What does not fit.

    Attributes:
        severity: "refused" where onnxruntime or TensorRT would reject the file, else "warning".
        check: what was looked at, e.g. "operators".
        targets: for which of "cpu" and "tensorrt" it holds.
        where: names of nodes or tensors; empty for the file as a whole.
        expected, found, remedy: for people to read.
    """

    severity: str
    check: str
    targets: tuple[str, ...]
    where: tuple[str, ...]
    expected: str
    found: str
    remedy: str


def foreign(node: NodeProto) -> bool:
    """Whether an operator is none of ONNX's own."""
    return node.domain not in {"", "ai.onnx"}


def kind_of(node: NodeProto) -> str:
    """An operator's type, with its domain where it is not ONNX's own."""
    return clean(f"{node.domain}::{node.op_type}" if foreign(node) else node.op_type)


def name_of(node: NodeProto) -> str:
    """What a finding calls a node; the exporter may have left it without a name."""
    return node.name or next((name for name in node.output if name), node.op_type)


def clean(text: str) -> str:
    """A file's own words on one line that a terminal can show."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
