"""Small computations on onnxruntime.

Read in this order:

ort            the only module that imports onnxruntime
graph_writer   writes small ONNX graphs without the `onnx` package
kernel         runs such a graph on the CPU
sampling       samples pictures at arbitrary points
"""
