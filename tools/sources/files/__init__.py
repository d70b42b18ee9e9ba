"""Sources that are files: folders, videos, watched folders and byte streams."""
