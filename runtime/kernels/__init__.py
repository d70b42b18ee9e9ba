"""onnxruntime and the small graphs the runtime gives it."""
