"""The feature extractor: from views to pyramids.

Read in this order:

card, pyramid         what a model file describes, and the features that it outputs
protocol, session     what a scorer expects of a network, and the network on onnxruntime
provider              what runs the network: CPU, CUDA, TensorRT
onnx_wire, onnx_outline, onnx_shapes, onnx_limits    what a model file may be, checked before onnxruntime reads it
gpu_session, gpu, engine_cache, provider_assignment    opening and checking a session on a GPU
"""
