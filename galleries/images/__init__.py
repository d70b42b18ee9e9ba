"""Image files as frames and masks. No other module finds or decodes them.

formats         the kinds of files, by suffix
content         the kind of a file, by its content
anatomy         what a file says about its picture, found out by a module for each kind:
                png jpeg bmp gif webp tiff jpeg2000 avif boxes pnm npy exif
unwritten       zeros in place of pixels
opening         a file that is whole, or a page of it
decoding        OpenCV's decoders
colours         blue first
depth           numbers of up to 16 bits as 8
transparency    what a frame shows where a picture is transparent
notices         what is said once for a folder
reading         a file as a frame
completeness    whether a file that may still be being written is whole
listing         a look at a folder and everything below it
folder          the images of a folder, and what is left out
palette         the numbers of palette entries, which are the labels of a mask
mask            a file as a mask
"""

from __future__ import annotations

from spade_edge.galleries.images.folder import find_images, name_of
from spade_edge.galleries.images.mask import read_mask, read_masks
from spade_edge.galleries.images.opening import file_of, pages
from spade_edge.galleries.images.reading import Picture, read_image, read_picture

__all__ = [
    "Picture",
    "file_of",
    "find_images",
    "name_of",
    "pages",
    "read_image",
    "read_mask",
    "read_masks",
    "read_picture",
]
