"""Preparing a device for a bundle: TensorRT's engine, a first frame, the golden frames."""
