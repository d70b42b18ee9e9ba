"""Change the threshold of a bundle to another false-reject rate.

    python change_threshold.py part.spade 0.005 "fewer false rejects wanted"

Scorers that are already open keep the old threshold. Needs the extra `galleries`.
"""

import sys
from pathlib import Path

from spade_edge import SpadeError, set_threshold


def main(bundle: str, rate: str, reason: str) -> int:
    change = set_threshold(Path(bundle), rate=float(rate), reason=reason)
    print(f"threshold {change.threshold.score:.6g}: {change.threshold.sentence()}")
    print(f"the former manifest is {change.former}; copy it over manifest.json to go back")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: change_threshold.py BUNDLE RATE REASON")
    try:
        sys.exit(main(*sys.argv[1:]))
    except SpadeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.exit_code)
