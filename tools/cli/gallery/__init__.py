"""The verbs of `spade-edge gallery`, a family in each module: `add_arguments` adds their parsers, `run` is theirs."""
