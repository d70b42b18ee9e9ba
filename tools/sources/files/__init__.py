"""Sources that are files: images, videos, stacks, watched folders and byte streams."""
