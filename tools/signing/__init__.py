"""Where a bundle comes from: Ed25519 signatures of its manifest, and so of every file that the manifest names.

- `keys`: the keys, in PEM files as OpenSSL writes and reads them
- `signature`: the file in the bundle that holds a signature
- `signing`: signs and verifies a bundle
"""

from __future__ import annotations

from spade_edge.tools.signing.keys import PrivateKey, PublicKey, new_key
from spade_edge.tools.signing.signing import Signed, Verified, sign, verify, verify_signature

__all__ = [
    "PrivateKey",
    "PublicKey",
    "Signed",
    "Verified",
    "new_key",
    "sign",
    "verify",
    "verify_signature",
]
