"""The kinds of image files, by suffix. OpenCV is needed for all but .npy, .pgm and .ppm."""

from __future__ import annotations

WITHOUT_OPENCV = (".npy", ".pgm", ".ppm")
WITH_OPENCV = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SUFFIXES = WITH_OPENCV + WITHOUT_OPENCV
LARGEST = 2 << 30  # bytes of a file, or of the pixels of an image
UNREAD_SUFFIXES = (
    *(".avif", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".pbm", ".pnm", ".webp"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"),
    *(".dcm", ".eps", ".exr", ".hdr", ".pcx", ".psd", ".svg", ".tga", ".xcf"),
)  # pictures that are counted and named, because they are not read
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".wmv")
