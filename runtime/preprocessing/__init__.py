"""From a frame to the network's inputs.

Read in this order:

preprocessor   resamples the views of a frame
mask           pixels that are ignored
condition      whether the frame can be judged: exposure, contrast and focus
"""
