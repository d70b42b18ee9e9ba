"""Where things lie, and how images are resampled.

Read in this order:

view       how a frame, or a part of it, becomes one network input
layout     which parts of a frame are inspected, and where the anomaly map lies on the frame
resample   resampling as two small matrix products
motion     how far a part is shifted and turned
"""
