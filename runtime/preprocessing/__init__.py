"""From a frame to the network's inputs.

Read in this order:

preprocessor   resamples the views of a frame
mask           pixels that are ignored
quantities     by what a frame is compared with the good images, and the words for it
condition      whether the frame can be judged: exposure, contrast, focus and colour
"""
