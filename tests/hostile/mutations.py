"""Ways to spoil a bundle, by family. Each puts the hashes right again, as somebody with bad intentions would.

A family is a function of the folder of a bundle that may be changed and of a random generator; it returns what it did.
Files but the manifest may be shared with other copies, so none is changed in place. A new kind of file gets a new
family in `FAMILIES`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from altered import put_payload
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spade_edge.galleries import pack
from spade_edge.galleries.generation_log import LOG
from spade_edge.runtime.bundle.manifest import FILE, HISTORY
from spade_edge.tools.signing import PrivateKey
from spade_edge.tools.signing.signature import PREFIX, Signature, signature_path

Family = Callable[[Path, np.random.Generator], str]

TRUSTED = "trusted.pub"  # the public key in a bundle of the family `signatures`

# What somebody may choose freely: other values mean another part or other limits, so that a defect may become good.
FREE = ("baseline", "mask", "reference", "descriptors", "thumbnails", "golden")
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 4096, 10_000, 2**31, 2**53, 2**64, 10**400, 0.5, -0.5, 1e-60, 1e38, 1e300)
TEXTS = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "../x",
    "/dev/zero",
    "x" * 100_000,
    "none",
    "exact",
    "\n",
    "\x1b[2J",
    "%s",
    "é",
    "NaN",
)
HEADERS = (
    (rb"'fortran_order': False", b"'fortran_order': True "),
    (rb"'fortran_order': False", b"'fortran_order': 0    "),
    (rb"'<f4'", b"'>f4'"),
    (rb"'<f4'", b"'<i4'"),
    (rb"'\|u1'", b"'|i1'"),
    (rb"'\|u1'", b"'|b1'"),
    (rb"'\|u1'", b"'|O1'"),
    (rb"'shape': \((\d+), ", b"'shape': (999999999999, "),
    (rb"'shape': \((\d+), ", b"'shape': (-1, "),
    (rb"'shape': \((\d+), ", b"'shape': (0, "),
    (rb"'shape': \(([^)]*)\)", b"'shape': ()"),
    (rb"'shape': \(", b"'shape': " + b"(" * 500),
    (rb"'descr'", b"__import__('os').abort()or'descr'"),
    (rb"NUMPY\x01", b"NUMPY\x02"),
    (rb"NUMPY\x01", b"NUMPY\x03"),
    (rb"NUMPY\x01\x00..", b"NUMPY\x01\x00\xff\xff"),
    (rb"NUMPY\x01\x00..", b"NUMPY\x01\x00\x00\x00"),
)


def manifest_fields(bundle: Path, rng: np.random.Generator) -> str:
    """Another value in one field of the manifest, or no such field, or one more."""
    value = _read(bundle)
    holder, key, where = _any_place(value, rng)
    kind = rng.choice(["number", "text", "nothing", "kind", "gone", "more", "twice"])
    if kind == "number":
        holder[key] = NUMBERS[rng.integers(len(NUMBERS))]
    elif kind == "text":
        holder[key] = TEXTS[rng.integers(len(TEXTS))]
    elif kind == "nothing":
        holder[key] = None
    elif kind == "kind":
        holder[key] = [[], {}, True, [None], [[]], {"a": 1}][rng.integers(6)]
    elif kind == "gone":
        del holder[key]
    elif kind == "more" and isinstance(holder, dict):
        holder["more"] = holder[key]
    else:
        _write(bundle, value, lambda text: text.replace("{", '{"schema": 8, ', 1))
        return "schema twice"
    _write(bundle, value)
    return f"{where}: {kind}"


def manifest_bytes(bundle: Path, rng: np.random.Generator) -> str:
    """Some other bytes in the text of the manifest, or a piece of it cut out or doubled."""
    raw = bytearray((bundle / FILE).read_bytes())
    kind = str(rng.choice(["bytes", "cut", "end", "twice", "nested", "encoding"]))
    start, stop = sorted(int(x) for x in rng.integers(0, len(raw), 2))
    if kind == "bytes":
        for at in rng.integers(0, len(raw), int(rng.integers(1, 9))):
            raw[at] = int(rng.integers(256))
    elif kind == "cut":
        del raw[start : min(stop, start + 200)]
    elif kind == "end":
        del raw[stop:]
    elif kind == "twice":
        raw[start:start] = raw[start : min(stop, start + 200)]
    elif kind == "nested":
        raw[start:start] = b"[" * int(rng.integers(1, 100_000))
    else:
        raw = bytearray(raw.decode().encode("utf-16"))
    _replace(bundle / FILE, bytes(raw))
    return f"{kind} at {start}"


def sizes(bundle: Path, rng: np.random.Generator) -> str:
    """A network, a layout or a matching that would take more than any machine has."""
    value = _read(bundle)
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (value["matching"], {"candidates": int(rng.choice([13, 100, 4096]))}),
        (value["matching"], {"kappa": int(rng.choice([2, 100, 1000, 10_000]))}),
        (value["matching"], {"ef": int(rng.choice([1, 65536]))}),
        (value["matching"], {"sigma": float(rng.choice([0, 1e-9, 100]))}),
        (value["model"]["view"], {"size": [8192, 8192], "resize": [8192, 8192]}),
        (value["model"]["view"], {"resize": [16384, 16384]}),
        (
            value["model"]["levels"][0],
            {"stride": int(rng.choice([1, 2, 256])), "channels": int(rng.choice([1, 65536]))},
        ),
        (value["model"]["levels"][-1], {"stride": 256}),
        (value["layout"], {"frame": [32766, 32766], "boxes": [[0, 0, 32766, 32766]]}),
        (value, {"images": value["images"] * 2}),
    ]
    own, change = changes[rng.integers(len(changes))]
    own.update(change)
    _write(bundle, value)
    return json.dumps(change)[:60]


def array_headers(bundle: Path, rng: np.random.Generator) -> str:
    """Another header before the same numbers."""
    role, content = _any_array(bundle, rng)
    pattern, new = HEADERS[rng.integers(len(HEADERS))]
    changed = re.sub(pattern, lambda _: new, content[:128], count=1, flags=re.DOTALL) + content[128:]
    put_payload(bundle, role, changed, suffix=".npy")
    return f"{role}: {new[:40]!r}"


def array_values(bundle: Path, rng: np.random.Generator) -> str:
    """Other numbers in an array: some, or all, of another order, of another type or length."""
    role, content = _any_array(bundle, rng)
    head, array = content[:128], np.frombuffer(content, _type(content), offset=128).copy()
    kind = str(rng.choice(["some", "largest", "zero", "negative", "noise", "turned", "rolled", "cut", "longer"]))
    if kind in ("cut", "longer"):
        left = int(rng.integers(0, len(content)))
        put_payload(bundle, role, content[:left] if kind == "cut" else content + content[:left], suffix=".npy")
        return f"{role}: {kind} {left}"
    some = slice(None) if rng.random() < 0.3 else rng.integers(0, len(array), max(1, len(array) // 100))
    if kind == "some":
        array[some] = array[rng.integers(0, len(array))]
    elif kind == "largest":
        array[some] = np.finfo(array.dtype).max if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    elif kind == "zero":
        array[some] = 0
    elif kind == "negative":
        array[some] = -array[some]
    elif kind == "noise":
        array = np.frombuffer(rng.bytes(array.nbytes), array.dtype)
    else:
        array = array[::-1] if kind == "turned" else np.roll(array, int(rng.integers(1, len(array))))
    put_payload(bundle, role, head + array.tobytes(), suffix=".npy")
    return f"{role}: {kind}"


def other_files(bundle: Path, rng: np.random.Generator) -> str:
    """Something else in the place of a file: a link, a pipe, a folder, another file of the bundle, nothing."""
    files = _read(bundle)["files"]
    role, other = (str(one) for one in rng.choice(sorted(files), 2, replace=False))
    path = bundle / (FILE if rng.random() < 0.15 else files[role]["name"])
    kind = str(rng.choice(["pipe", "folder", "none", "zero", "loop", "absent", "other", "empty", "sparse"]))
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("zero", "loop", "absent"):
        path.symlink_to({"zero": "/dev/zero", "loop": path, "absent": "/absent"}[kind])
    elif kind == "other":
        path.symlink_to(bundle / files[other]["name"])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "sparse":
        path.write_bytes(content)
        os.truncate(path, 1 << 40)
    return f"{path.name}: {kind}"


def signatures(bundle: Path, rng: np.random.Generator) -> str:
    """A signed bundle whose signature, or what was signed, is another one; the public key lies in `TRUSTED`."""
    key = Ed25519PrivateKey.from_private_bytes(rng.bytes(32))
    raw = (bundle / FILE).read_bytes()
    private = PrivateKey(key)
    signature = Signature(sha256(raw).hexdigest(), private.public.fingerprint, private.sign(PREFIX + raw))
    path = signature.write(bundle)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (bundle / TRUSTED).write_bytes(pem)
    kind = str(rng.choice(["changed", "field", "bytes", "file", "folder", "other"]))
    if kind == "changed":  # with hashes put right, but without the private key
        family = str(rng.choice(["manifest_fields", "manifest_bytes", "sizes", "array_headers", "array_values"]))
        done = FAMILIES[family](bundle, rng)
        changed = sha256((bundle / FILE).read_bytes()).hexdigest()
        if rng.random() < 0.5:
            renamed = signature_path(bundle, manifest=changed, key=signature.key)
            value = json.loads(path.read_text()) | {"manifest": changed}
            renamed.write_text(json.dumps(value))
        return f"{'same' if changed == signature.manifest else 'changed'}: {family}, {done}"
    if kind == "field":
        value = json.loads(path.read_text())
        name = str(rng.choice(list(value)))
        values = (*NUMBERS, *TEXTS, None, [], {}, True, "0" * 128, "f" * 128, "F" * 64, "ed448", "none")
        value[name] = values[rng.integers(len(values))]
        path.write_text(json.dumps(value))
        return f"signature: {name}"
    if kind == "bytes":
        content = bytearray(path.read_bytes())
        for at in rng.integers(0, len(content), int(rng.integers(1, 5))):
            content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content) * int(rng.choice([1, 1, 2, 100_000])))
        return "signature: bytes"
    place = path if kind in ("file", "other") else path.parent
    kept = bundle / "kept"
    place.rename(kept)
    what = str(rng.choice(["pipe", "folder", "zero", "loop", "absent", "kept", "empty", "sparse", "nested", "nothing"]))
    if kind == "other":  # the right bytes of another key
        own = PrivateKey(Ed25519PrivateKey.from_private_bytes(rng.bytes(32)))
        other = Signature(signature.manifest, own.public.fingerprint, own.sign(PREFIX + raw)).write(bundle)
        path.write_text(other.read_text().replace(own.public.fingerprint, signature.key))
        what = "of another key"
    elif what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    elif what in ("zero", "loop", "absent", "kept"):
        place.symlink_to({"zero": "/dev/zero", "loop": place, "absent": "/absent", "kept": kept}[what])
    elif what == "empty":
        place.write_bytes(b"")
    elif what == "sparse":
        place.write_bytes(b"{")
        os.truncate(place, 1 << 40)
    elif what == "nested":
        place.write_bytes(b"[" * 4000)
    return f"signature: {kind}, {what}"


def taught(bundle: Path, rng: np.random.Generator) -> str:
    """Any of the others, before an image is taught in."""
    family = str(rng.choice(["manifest_fields", "manifest_bytes", "sizes", "array_headers", "array_values"]))
    return f"{family}, {FAMILIES[family](bundle, rng)}"


def log(bundle: Path, rng: np.random.Generator) -> str:
    """Another log than the one that was written."""
    path = bundle / LOG
    lines = path.read_bytes().splitlines(keepends=True)
    kind = str(rng.choice(["bytes", "cut", "twice", "field", "long", "pipe", "folder", "loop", "zero", "history"]))
    if kind == "bytes":
        content = bytearray(b"".join(lines))
        for at in rng.integers(0, len(content), int(rng.integers(1, 5))):
            content[at] ^= 1 << int(rng.integers(8))
        _replace(path, bytes(content))
    elif kind == "cut":
        content = b"".join(lines)
        _replace(path, content[: int(rng.integers(len(content)))])
    elif kind == "twice":
        _replace(path, b"".join(lines * int(rng.choice([2, 3, 1000]))))
    elif kind == "field":
        value = json.loads(lines[0])
        name = str(rng.choice(list(value)))
        values = (*NUMBERS, *TEXTS, None, [], {}, True, ["x"] * 1000)
        value[name] = values[rng.integers(len(values))]
        _replace(path, json.dumps(value).encode("utf-8", "surrogatepass") + b"\n")
        kind += f" {name}"
    elif kind == "long":
        _replace(path, b"{" + b" " * (5 << 20) + b"}\n")
    elif kind == "history":
        for kept in (bundle / HISTORY).iterdir():
            content = bytearray(kept.read_bytes())
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
            _replace(kept, bytes(content))
    else:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to({"loop": path, "zero": "/dev/zero"}[kind])
    return f"log: {kind}"


def packed(bundle: Path, rng: np.random.Generator) -> str:
    """A packed bundle beside the folder that is no longer what was packed."""
    path = packed_file(bundle)
    path.unlink(missing_ok=True)  # that of another mutation
    pack(bundle, path)
    content = bytearray(path.read_bytes())
    heads = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    at = heads[int(rng.integers(len(heads)))]
    kind = str(rng.choice(["head", "byte", "cut", "name", "type", "size", "twice", "order", "checksum"]))
    if kind == "head":
        content[at + int(rng.integers(512))] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del content[int(rng.integers(len(content))) :]
    elif kind == "twice":
        content = content + content
    elif kind == "order":
        content = content[at:] + content[:at]
    elif kind == "name":
        names = ["../x", "/etc/x", "a/../../x", "manifest.json", "history/x", ".", "", "x" * 99]
        content[at : at + 100] = str(rng.choice(names)).encode().ljust(100, b"\0")
    elif kind == "type":
        content[at + 156] = int(rng.choice(list(b"0123456789gxLKSVDMN\0")))
    elif kind == "size":
        sizes_ = [b"77777777777", b"00000000000", b"\x80" + b"\xff" * 11, b"-0000000001", b"abc", b"00000000777"]
        content[at + 124 : at + 136] = sizes_[int(rng.integers(len(sizes_)))].ljust(12, b"\0")
    if kind in ("head", "name", "type", "size") and rng.random() < 0.8:  # the checksum put right
        head = content[at : at + 512]
        head[148:156] = b" " * 8
        content[at + 148 : at + 156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(content))
    return f"packed: {kind}"


def packed_file(bundle: Path) -> Path:
    """Where `packed` writes."""
    return bundle.with_suffix(".tar")


FAMILIES: dict[str, Family] = {
    "manifest_fields": manifest_fields,
    "manifest_bytes": manifest_bytes,
    "sizes": sizes,
    "array_headers": array_headers,
    "array_values": array_values,
    "other_files": other_files,
    "signatures": signatures,
    "taught": taught,
    "log": log,
    "packed": packed,
}


def may_pass(family: str, done: str) -> bool:
    """Whether a mutation may make a defect good: it says what is good, and is no contradiction."""
    if family in ("array_headers", "other_files", "log", "packed"):
        return False
    if family == "taught":
        return True
    return family != "array_values" or done.startswith(FREE)


def must_be_refused(family: str, done: str) -> bool:
    """Whether a mutation changed what was signed."""
    return family == "signatures" and done.startswith("changed")


def _read(bundle: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((bundle / FILE).read_text())
    return value


def _write(bundle: Path, value: object, change: Callable[[str], str] = lambda text: text) -> None:
    _replace(bundle / FILE, change(json.dumps(value)).encode())


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _any_place(value: Any, rng: np.random.Generator) -> tuple[Any, Any, str]:
    """A holder and a key in it, at any depth, and its path."""
    where, holder = [], value
    while True:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[int(rng.integers(len(keys)))]
        where.append(str(key))
        inner = holder[key]
        if not (isinstance(inner, (dict, list)) and inner) or rng.random() < 0.1:
            return holder, key, ".".join(where)
        holder = inner


def _any_array(bundle: Path, rng: np.random.Generator) -> tuple[str, bytes]:
    files = _read(bundle)["files"]
    role = str(rng.choice([role for role, file in sorted(files.items()) if file["name"].endswith(".npy")]))
    return role, (bundle / files[role]["name"]).read_bytes()


def _type(content: bytes) -> np.dtype[Any]:
    kind = re.search(rb"'descr': '([^']+)'", content)
    assert kind is not None
    return np.dtype(kind[1].decode())
