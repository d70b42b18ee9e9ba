"""Time, memory and recall of a bundle on this machine."""
