"""Image files as frames and masks. No other module finds or decodes them.

formats         the kinds of files, by suffix
listing         a look at a folder and everything below it
folder          the images of a folder, and what is left out
completeness    whether a file that may still be being written is complete
pnm             PGM and PPM, without OpenCV
reading         a file as a frame
mask            a file as a mask
"""

from __future__ import annotations

from spade_edge.galleries.images.folder import find_images, name_of
from spade_edge.galleries.images.mask import read_mask, read_masks
from spade_edge.galleries.images.reading import Picture, read_image, read_picture

__all__ = ["Picture", "find_images", "name_of", "read_image", "read_mask", "read_masks", "read_picture"]
