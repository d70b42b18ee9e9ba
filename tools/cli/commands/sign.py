"""Sign a bundle, so that devices can verify where it comes from; or make a key pair.

    spade-edge sign --new-key line.key --passphrase-prompt
    spade-edge sign --bundle part.spade --key line.key

The private key, line.key, stays with whoever answers for bundles. The public key, line.key.pub, goes to the devices:
'spade-edge verify' and 'score --require-signature' need it. Keys are Ed25519 keys in PEM files, as OpenSSL writes them.

A signature stands for one manifest, and so for every file of the bundle. It is stored in the folder signatures/ of the
bundle. A bundle that was changed has another manifest and needs another signature; the former ones stay, so one that is
put back is signed as it was. No option takes a passphrase, because other users can see the command line.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys

from spade_edge.runtime import UsageError
from spade_edge.runtime.bundle.manifest_file import SHORT
from spade_edge.tools.cli.arguments import add_json, path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", type=path, help="the bundle that 'spade-edge build' wrote")
    what.add_argument(
        "--new-key", type=path, metavar="FILE", help="make a key pair: FILE, for its owner only, and FILE.pub"
    )
    parser.add_argument("--key", type=path, metavar="FILE", help="the private key; required with --bundle")
    passphrase = parser.add_mutually_exclusive_group()
    passphrase.add_argument(
        "--passphrase-prompt",
        action="store_true",
        help="with --new-key: encrypt the private key with a passphrase that is typed",
    )
    passphrase.add_argument(
        "--passphrase-file", type=path, metavar="FILE", help="read the passphrase of the private key from a file"
    )
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    if (chosen.bundle is None) != (chosen.key is None):
        raise UsageError("expected --bundle together with --key, found only one of them")
    return _new_key(chosen) if chosen.bundle is None else _sign(chosen)


def _new_key(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.signing import new_key
    from spade_edge.tools.signing.keys import read_passphrase

    passphrase = None
    if chosen.passphrase_file is not None:
        passphrase = read_passphrase(chosen.passphrase_file)
    elif chosen.passphrase_prompt:
        passphrase = _asked(f"Passphrase for {chosen.new_key}: ")
        if _asked("The same once more: ") != passphrase:
            raise UsageError("expected the same passphrase twice, found two; no key was made")
    public = new_key(chosen.new_key, passphrase=passphrase)
    if passphrase is None:
        print(
            f"{chosen.new_key} is not encrypted: whoever can read it can sign; keep it where only you can",
            file=sys.stderr,
        )
    if chosen.json:
        print(json.dumps({"private": str(chosen.new_key), "public": public.source, "key": public.fingerprint}))
    else:
        print(f"{chosen.new_key} signs, {public.source} verifies: the key {public.fingerprint[:SHORT]}")
    return 0


def _sign(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.signing import sign
    from spade_edge.tools.signing.keys import needs_passphrase, others_may_read, read_passphrase

    passphrase = None
    if needs_passphrase(chosen.key):
        if chosen.passphrase_file is not None:
            passphrase = read_passphrase(chosen.passphrase_file)
        else:
            passphrase = _asked(f"Passphrase of {chosen.key}: ")
    elif others_may_read(chosen.key):
        print(f"{chosen.key}: other users may read this private key; run 'chmod 600' on it", file=sys.stderr)
    signed = sign(chosen.bundle, chosen.key, passphrase=passphrase)
    if chosen.json:
        print(json.dumps(signed.to_json()))
    else:
        print(
            f"{chosen.bundle}: the manifest {signed.manifest_sha256[:SHORT]} is signed with the key "
            f"{signed.key[:SHORT]}, in {signed.signature}"
        )
    return 0


def _asked(prompt: str) -> bytes:
    """A passphrase that is typed on the terminal, without being shown.

    Raises:
        UsageError: there is no terminal, or nothing was typed.
    """
    if not sys.stdin.isatty():
        raise UsageError("expected a terminal to ask for the passphrase on, found none; use --passphrase-file")
    try:
        typed = getpass.getpass(prompt)
    except EOFError:
        typed = ""
    if not typed:
        raise UsageError("expected a passphrase, found none")
    return typed.encode()
