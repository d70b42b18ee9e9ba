"""The verbs of `spade-edge fleet`."""
