"""What the versions of TensorRT make of a model's precision.

Up to version 10, the builder takes flags that allow it float16 and int8. From version 11 on there are none: networks
are strongly typed, and computed in the types that the model has. Looked up, and not tried on a GPU by us:
docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration/tensorrt-10x-to-11x.html.
"""

from __future__ import annotations

VERSIONS = (8, 10, 11)  # of which onnxruntime's provider has been built for each; 9 was for a few products only
STRONGLY_TYPED = 11
PRECISIONS = ("fp32", "fp16", "int8")


def major(version: str) -> int:
    """The first number of a version such as "10.3.0"."""
    return int(version.partition(".")[0])


def strongly_typed(version: str) -> bool:
    """Whether networks have the types of the model, and the builder has no flags for them."""
    return major(version) >= STRONGLY_TYPED


def computes(precision: str, *, version: str) -> str:
    """What a version of TensorRT computes in, in words, for a model that `spade-edge export` wrote.

    Args:
        precision: the model's: "fp32", "fp16" or "int8".
        version: of TensorRT, such as "10.3.0" or "11".
    """
    if strongly_typed(version):
        return {
            "fp32": "float32, as the model is typed",
            "fp16": "float16 between the model's casts, as the model is typed",
            "int8": "int8 at the model's Q/DQ pairs and float32 elsewhere, as the model is typed",
        }[precision]
    return {
        "fp32": "float32",
        "fp16": "float16 or float32, as it finds faster for each layer (builder flag fp16)",
        "int8": "int8 at the model's Q/DQ pairs and float32 elsewhere (builder flag int8)",
    }[precision]
