"""The kinds of image files, by suffix. OpenCV is needed for all but .npy, .pgm, .ppm, .pnm, .pbm and simple .tif.

The suffix decides which files of a folder are images. How a file is read depends on its content.
"""

from __future__ import annotations

WITHOUT_OPENCV = (".npy", ".pgm", ".ppm", ".pnm", ".pbm")
WITH_OPENCV = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".avif"),
)
SUFFIXES = WITH_OPENCV + WITHOUT_OPENCV
LARGEST = 2 << 30  # bytes of a file, or of the pixels of an image
UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".jxl", ".jpx", ".jxr", ".apng", ".avifs", ".ico", ".svg", ".svgz", ".eps"),
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"),
    *(".dcm", ".exr", ".fits", ".hdr", ".mpo", ".npz", ".pam", ".pcx", ".pfm", ".psd", ".ras", ".sr", ".tga", ".xcf"),
)  # pictures that are counted and named, because they are not read
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".wmv", ".mjpeg", ".mjpg")
