"""Export the truncated network as one ONNX file with a model card, verified against torch.

    from pathlib import Path
    from spade_edge.export import export_model

    report = export_model(Path("model.onnx"), backbone="wide_resnet50_2", weights="imagenet")
    print(report.card.levels, report.card.parity["level3"])  # its outputs, and how much they differ from torch's

Input, outputs and colour order of the file are specified in the docstring of `spade_edge.runtime.network.card`.
"""

from spade_edge.export.backbones import BACKBONES, Backbone
from spade_edge.export.model_file import ExportReport, export_model, export_pyramid
from spade_edge.export.precision import Precision
from spade_edge.export.pyramid import build_pyramid, own_view
from spade_edge.export.torch_pyramid import TorchPyramid

__all__ = [
    "BACKBONES",
    "Backbone",
    "ExportReport",
    "Precision",
    "TorchPyramid",
    "build_pyramid",
    "export_model",
    "export_pyramid",
    "own_view",
]
