"""Scoring a labelled dataset, and comparing devices."""
