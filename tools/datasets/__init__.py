"""Datasets: which images there are, where they lie, and what they are."""
