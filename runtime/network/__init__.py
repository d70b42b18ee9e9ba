"""The feature extractor: from views to pyramids.

Read in this order:

card, pyramid         what a model file describes, and the features that it outputs
protocol, session     what a scorer expects of a network, and the network on onnxruntime
provider              what runs the network: CPU, CUDA, TensorRT
gpu_session, gpu, engine_cache, onnx_summary, provider_assignment    opening and checking a session on a GPU
"""
