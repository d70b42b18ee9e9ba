"""Frames and results that are kept: every reject and a sample of the good parts, within a budget of disk space."""
