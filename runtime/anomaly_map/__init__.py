"""From distances to one anomaly map of the frame, and the regions in it."""
