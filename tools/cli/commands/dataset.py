"""List the images of a folder or an object store in one file, and verify that they are still the same.

spade-edge dataset scan   s3://plant/bolts dataset.jsonl
spade-edge dataset verify dataset.jsonl
spade-edge dataset diff   old.jsonl new.jsonl
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_subparsers(dest="verb", required=True, metavar="VERB")


def run(chosen: argparse.Namespace) -> int:
    return int(chosen.run_verb(chosen))
