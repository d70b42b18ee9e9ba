"""The `spade-edge` command line."""
