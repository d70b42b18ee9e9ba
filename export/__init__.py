"""Export: the truncated network as one ONNX file that describes itself and has proved itself against torch.

    from pathlib import Path
    from spade_edge.export import export_model

    report = export_model(Path("model.onnx"), backbone="wide_resnet50_2", weights="imagenet")
    report.card.levels, report.card.parity["level3"]    # what it computes, how far it is from torch

The file's contract (input, outputs, colour order) is the docstring of `spade_edge.runtime.network.card`.
"""

from spade_edge.export.backbones import BACKBONES, Backbone
from spade_edge.export.model_file import ExportReport, export_model, export_pyramid
from spade_edge.export.precision import Precision
from spade_edge.export.pyramid import TorchPyramid, build_pyramid

__all__ = [
    "BACKBONES",
    "Backbone",
    "ExportReport",
    "Precision",
    "TorchPyramid",
    "build_pyramid",
    "export_model",
    "export_pyramid",
]
