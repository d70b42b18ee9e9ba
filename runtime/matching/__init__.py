"""From pyramids to distances (Eq. 3).

Read in this order:

matcher        matches views against a gallery; config holds its parameters
gallery        the features of the good images, in float32 or in codes
distances      Eq. 3 by exact search, or among candidate cells
coding, cells  features as codes of one byte, and comparing cells in codes
entries        one key of the index for all cells that have it
hnsw, graph_search    the HNSW index file, and the search for candidate cells in it
"""
