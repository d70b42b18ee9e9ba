"""Check whether devices can run an ONNX file, and write it with a fixed batch size if asked.

The graph is checked against what onnxruntime 1.17 and newer read, and against the operator lists of TensorRT's parsers,
versions 8 to 11. No GPU is needed or used. Only the device can tell whether an engine can be built, and what it
computes.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from spade_edge.runtime.errors import ModelError, UsageError
from spade_edge.tools.cli.arguments import path, positive

if TYPE_CHECKING:
    from spade_edge.export.lint import LintReport

TARGETS = {"cpu": ("cpu",), "tensorrt": ("tensorrt",), "both": ("cpu", "tensorrt")}
LONGEST_NAME = 40  # characters of a node's name in the table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="the ONNX file that 'spade-edge export' wrote")
    parser.add_argument(
        "--target",
        choices=tuple(TARGETS),
        help="what must be able to run it (default: both; for a quantized file, the target it was quantized for)",
    )
    parser.add_argument(
        "--static", type=path, metavar="FILE", help="if the file passes, write it there with a fixed batch size"
    )
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="batch size in views, for the check of tensor sizes (4) and for the file that --static writes",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(chosen: argparse.Namespace) -> int:
    if chosen.static is not None and chosen.batch is None:
        raise UsageError("expected --static with --batch N, found no batch; --batch 1 is one view at a time")
    from spade_edge.export.lint import lint
    from spade_edge.export.static import LARGEST_BATCH, trtexec_lines, write_static
    from spade_edge.runtime.network.protocol import VIEWS_PER_RUN

    batch = chosen.batch or VIEWS_PER_RUN
    if batch > LARGEST_BATCH:
        raise UsageError(f"--batch: expected at most {LARGEST_BATCH} views, found {batch}")
    report = lint(chosen.model, batch=batch)
    asked = TARGETS[chosen.target] if chosen.target else report.made_for
    unfit = [target for target in asked if not report.fit(target)]
    if not chosen.json:
        _print(report)
    static: dict[str, Any] | None = None
    if chosen.static is not None and not unfit:
        written = write_static(chosen.model, chosen.static, batch=batch)
        lines = trtexec_lines(written.path, precision=report.precision) if report.fit("tensorrt") else {}
        static = written.to_json() | {"trtexec": lines}
        if not chosen.json:
            print(
                f"{written.path}: always {batch} view{'s' if batch > 1 else ''}, {written.size / 1e6:.1f} MB, "
                "computes the same in onnxruntime"
            )
            for version, line in lines.items():
                print(f"{version}: {line}")
    if chosen.json:
        print(json.dumps(report.to_json() | {"asked": asked, "static": static}))
    if unfit:
        raise ModelError(
            f"{report.source}: expected a file that is fit for {' and '.join(asked)}, found it refused for "
            f"{', '.join(f'{target} ({_checks(report, target)})' for target in unfit)}; the findings say what to do"
        )
    return 0


def _print(report: LintReport) -> None:
    nodes = sum(count for _, count in report.operators)
    views = "any number of views" if report.batch is None else f"always {report.batch} views"
    print(
        f"{report.source}: {report.precision}, opset {report.opset}, IR {report.ir_version}, {nodes} nodes of "
        f"{len(report.operators)} operators, {views}, {report.size / 1e6:.1f} MB"
    )
    rows = [(x.severity, " ".join(x.targets), x.check, _where(x.where)) for x in report.findings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, x in zip(rows, report.findings, strict=True):
        cells = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(f"{cells}  expected {x.expected}; found {x.found}; {x.remedy}")
    for target in TARGETS["both"]:
        verdict = "yes" if report.fit(target) else f"no, refused: {_checks(report, target)}"
        print(f"fit for {target}: {verdict}")
    from spade_edge.runtime.network.tensorrt import VERSIONS

    for version in VERSIONS:
        print(f"fit for TensorRT {version}: {report.on_tensorrt(version)}")


def _checks(report: LintReport, target: str) -> str:
    return ", ".join(dict.fromkeys(x.check for x in report.reasons(target)))


def _where(names: tuple[str, ...]) -> str:
    if not names:
        return "-"
    first = names[0] if len(names[0]) <= LONGEST_NAME else f"…{names[0][1 - LONGEST_NAME :]}"
    return first if len(names) == 1 else f"{first} +{len(names) - 1}"
