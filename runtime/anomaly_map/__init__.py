"""From the distances of a frame's views to its anomaly map.

Read in this order:

stitching   enlarges, blends and smooths distances to one map, and scores it
regions     connected parts of the map above a threshold
"""
