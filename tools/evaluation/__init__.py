"""Metrics on a labelled dataset, and parity of devices and precisions."""
