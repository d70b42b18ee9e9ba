"""From features to distances: codes, the graph search over cells, and Eq. 3."""
