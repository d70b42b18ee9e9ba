"""`python -m spade_edge` is the command `spade-edge`."""

import sys

from spade_edge.tools.cli.start import main  # noqa: TID251  (the command line is a tool)

if __name__ == "__main__":
    sys.exit(main())
