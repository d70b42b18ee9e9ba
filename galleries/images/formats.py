"""The kinds of image files, by suffix. OpenCV is needed for all but .npy, .pgm and .ppm."""

from __future__ import annotations

WITHOUT_OPENCV = (".npy", ".pgm", ".ppm")
WITH_OPENCV = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SUFFIXES = WITH_OPENCV + WITHOUT_OPENCV
LARGEST = 2 << 30  # bytes of a file, or of the pixels of an image
