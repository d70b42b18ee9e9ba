"""Scoring the frames of a source one after the other: records, pictures and counts beside it."""
