"""The bundle folder: its manifest, its threshold, its golden frames."""
