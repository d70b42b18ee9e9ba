"""From a frame to the network's inputs.

Read in this order:

preprocessor         resamples the views of a frame
device_preprocessor  the same where the network runs; the views stay there
mask                 pixels that are ignored
quantities           by what a frame is compared with the good images, and the words for it
condition            whether the frame can be judged: exposure, contrast, focus and colour
registration         how far the part is shifted and turned against the mean of good parts
alignment            where good parts lie, and how far away a part may lie
moved                a view whose part was brought back, and the way back to the frame
aligner              finds the part in a view, and brings it back
"""
