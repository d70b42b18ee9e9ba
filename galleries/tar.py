"""Plain tar as a bundle is packed in it: regular files of one kind, so that the same files give the same bytes.

POSIX ustar: blocks of 512 bytes, a header before each file, two blocks of zeros at the end. Modes, owners and times are
fixed. Sizes of 8 GB and more are written as GNU tar writes them. Nothing else is read: a header is valid only if it is
byte for byte the one that would be written for its name and size. So there are no links, devices, folders, sparse
files, extended headers or names with two meanings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from spade_edge.runtime import DataError

BLOCK = 512
END = bytes(2 * BLOCK)
LONGEST_NAME = 100  # bytes, ASCII
LARGEST = 1 << 50  # bytes of one file
_OCTAL = 8 << 30  # sizes below it have a field of octal digits
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "ZIP",
}
_KINDS = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"g": "an extended header",
    b"x": "an extended header",
    b"L": "a long name",
    b"K": "a long name",
    b"S": "a sparse file",
}


@dataclass(frozen=True)
class Member:
    """A file in a tar file.

    Attributes:
        name: of it, with / between folders.
        size: its bytes.
    """

    name: str
    size: int


def header(member: Member) -> bytes:
    """The block before a file."""
    size = b"%011o\0" % member.size if member.size < _OCTAL else b"\x80" + member.size.to_bytes(11, "big")
    block = bytearray(BLOCK)
    for start, field in (
        (0, member.name.encode("ascii")),
        (100, b"0000644\0"),  # mode
        (108, b"0000000\0"),  # owner
        (116, b"0000000\0"),  # group
        (124, size),
        (136, b"00000000000\0"),  # time
        (148, b" " * 8),  # the sum, while it is computed
        (156, b"0"),  # a regular file
        (257, b"ustar\x0000"),
        (329, b"0000000\0"),
        (337, b"0000000\0"),
    ):
        block[start : start + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size: int) -> int:
    """The zeros behind a file of this size."""
    return -size % BLOCK


class TarReader:
    """Reads the files of a tar file one after the other, none of them beforehand.

    Args:
        file: open for reading.
        source: what messages call it.
    """

    def __init__(self, file: BinaryIO, *, source: str) -> None:
        self._file = file
        self._source = source
        self._left = 0  # bytes of the present file
        self._padding = 0

    def __iter__(self) -> TarReader:
        return self

    def __next__(self) -> Member:
        """The next file, of which nothing is left unread.

        Raises:
            DataError: the tar file is cut off, or has an entry that `header` does not write.
        """
        while self._left:
            self.read(1 << 20)
        if any(self._exactly(self._padding)):
            raise self._wrong("zeros behind a file, found something else")
        block = self._exactly(BLOCK)
        if not any(block):
            if any(self._exactly(BLOCK)):
                raise self._wrong("two blocks of zeros at the end, found one")
            if self._rest():
                raise self._wrong("nothing behind the end, found more")
            raise StopIteration
        member = self._member(block)
        self._left, self._padding = member.size, padding(member.size)
        return member

    def read(self, count: int) -> bytes:
        """The next bytes of the present file, `count` at most; none at its end.

        Raises:
            DataError: the tar file is cut off.
        """
        block = self._exactly(min(count, self._left))
        self._left -= len(block)
        return block

    def _member(self, block: bytes) -> Member:
        name, size = block[:100].rstrip(b"\0"), block[124:136]
        for begin, kind in _COMPRESSED.items():
            if block.startswith(begin):
                raise self._wrong(f"a plain tar file, found one that is compressed ({kind}); decompress it first")
        if block[257:262] != b"ustar":
            raise self._wrong("a tar file, found another kind of file")
        if block[156:157] in _KINDS:
            raise self._wrong(f"regular files only, found {_KINDS[block[156:157]]}")
        try:
            value = int.from_bytes(size[1:], "big") if size[0] == 0x80 else int(size[:11], 8)
            member = Member(name.decode("ascii"), value)
            as_written = 0 <= member.size <= LARGEST and header(member) == block
        except ValueError:  # no ASCII or no octal digits
            as_written = False
        if not as_written:
            raise self._wrong("entries as 'spade-edge pack' writes them, found another; pack the bundle again")
        return member

    def _rest(self) -> bytes:
        """A byte behind the end."""
        return self._file.read(1)

    def _exactly(self, count: int) -> bytes:
        try:
            block = self._file.read(count)
        except OSError as problem:
            raise self._wrong(f"a file that can be read, found: {problem.strerror}") from None
        if len(block) < count:
            raise self._wrong("a whole file, found one that is cut off; copy it again")
        return block

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{self._source}: expected {what}")
