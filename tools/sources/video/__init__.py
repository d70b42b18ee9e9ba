"""Videos and network streams, frame by frame, each whole or with its fault.

prediction     which frames are whole, and which are built on damaged ones
motion_jpeg    frames that are JPEG images
decoding       through PyAV
nal_units      zeros in H.264 and H.265 where none can be
ending         whether a file is cut off
"""
