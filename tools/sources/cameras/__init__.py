"""Live sources: V4L2, network streams, GStreamer and GenICam cameras."""
