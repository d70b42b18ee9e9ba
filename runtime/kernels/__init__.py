"""Small computations on onnxruntime.

Read in this order:

captured       what libraries written in C print
ort            the only module that imports onnxruntime
graph_writer   writes small ONNX graphs without the `onnx` package
kernel         runs such a graph on the CPU
workers        threads that share the parts of a computation
device_kernel  runs such a graph where the network runs, and leaves the results there
sampling       samples pictures at arbitrary points
"""
