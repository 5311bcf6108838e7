"""The framings in which Spark writes event logs, undone block by block.

They are not the ordinary ones of lz4, snappy and lzf: lz4-java's `LZ4Block`, snappy-java's
stream and compress-lzf's chunks. What a log is in is told from its first bytes, since its name
may say anything.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, Literal

Codec = Literal["plain", "zstd", "gzip", "lz4", "snappy", "lzf"]

SPARKS: frozenset[Codec] = frozenset({"zstd", "lz4", "snappy", "lzf"})
"""The framings that are Spark's own."""

BLOCK_BYTES = 1 << 19
# Packed bytes taken at once: what comes of them stays small though they be packed a hundredfold.
_ZSTD_BYTES = 1 << 15
# lz4-java's: what it hashes with, and the bits of it that it writes.
_LZ4_SEED, _LZ4_MASK = 0x9747B28C, 0x0FFFFFFF
_SNAPPY_MAGIC = b"\x82SNAPPY\x00"
_LZ4_MAGIC = b"LZ4Block"
_MAGICS: tuple[tuple[bytes, Codec], ...] = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b", "gzip"),
    (_LZ4_MAGIC, "lz4"),
    (_SNAPPY_MAGIC, "snappy"),
    (b"ZV\x00", "lzf"),
    (b"ZV\x01", "lzf"),
)
# No framing of Spark's writes larger blocks (lz4's largest are 32 MB): more is a damaged length.
_LARGEST_BLOCK_BYTES = 64 << 20


class CutError(Exception):
    """The log ends inside a block, or a block is damaged; what came before it holds."""


def sniff(head: bytes) -> Codec:
    """The codec whose magic `head`, the first 8 bytes, begins with; a cut magic counts too."""
    for magic, codec in _MAGICS:
        if head and (head.startswith(magic) or magic.startswith(head)):
            return codec
    return "plain"


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The decoded bytes of `stream`, in order; `CutError` after the last that could be decoded."""
    return Decoded(stream).blocks()


class Decoded:
    """A stream with its framing undone.

    `damage` says what was amiss in it though it could be decoded; `unended` that its framing has
    an end mark and it has none, as while the application writes it. Both hold after the last of
    `blocks`.
    """

    def __init__(self, stream: BinaryIO) -> None:
        head = PeekedStream(stream).read(len(_SNAPPY_MAGIC))
        self.codec = sniff(head)
        self.damage: list[str] = []
        self.unended = False
        self._source = PeekedStream(stream, head)

    def blocks(self) -> Iterator[bytes]:
        """The decoded bytes, in order; `CutError` after the last that could be decoded."""
        return _DECODERS[self.codec](self, self._source)


class PeekedStream:
    """A stream of which the first bytes may have been read already."""

    def __init__(self, stream: BinaryIO, head: bytes = b"") -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, or fewer at the end only; all that are left where it is negative."""
        if size < 0:
            found, self._head = self._head, b""
            return found + self._stream.read()
        found, self._head = self._head[:size], self._head[size:]
        pieces, missing = [found], size - len(found)
        while missing and (piece := self._stream.read(missing)):
            if len(piece) == size:
                return piece
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        """`size` bytes, or `CutError`."""
        if size < 0 or size > _LARGEST_BLOCK_BYTES:
            raise CutError(f"a block of {size} bytes is announced")
        found = self.read(size)
        if len(found) < size:
            raise CutError("the log ends inside a block")
        return found


def _plain(_: Decoded, source: PeekedStream) -> Iterator[bytes]:
    while block := source.read(BLOCK_BYTES):
        yield block


def _zstd(_: Decoded, source: PeekedStream) -> Iterator[bytes]:
    import zstandard

    # Spark closes a frame at each flush, so a log has many.
    unpacker = zstandard.ZstdDecompressor()
    frame, begun = unpacker.decompressobj(), False
    try:
        while data := source.read(_ZSTD_BYTES):
            while data:
                if frame.eof:
                    frame = unpacker.decompressobj()
                if block := frame.decompress(data):
                    yield block
                data = frame.unused_data
            begun = not frame.eof
    except zstandard.ZstdError as error:
        raise CutError(f"damaged zstd: {error}") from error
    if begun:
        raise CutError("the log ends inside a zstd frame")


def _gzip(_: Decoded, source: PeekedStream) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    data = b""
    try:
        while data := data or source.read(1 << 16):
            if inflater.eof:  # one member after another, as Databricks' appended parts
                inflater = zlib.decompressobj(wbits=31)
            yield inflater.decompress(data, BLOCK_BYTES)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise CutError(f"damaged gzip: {error}") from error
    if not inflater.eof:
        raise CutError("the log ends inside a gzip member")


def _lz4(log: Decoded, source: PeekedStream) -> Iterator[bytes]:
    """LZ4BlockOutputStream: magic, token, packed and true length and checksum, then the data."""
    import cramjam
    from xxhash import xxh32_intdigest

    wrong = 0
    log.unended = True
    while head := source.read(21):
        if len(head) < 21 or not head.startswith(_LZ4_MAGIC):
            raise CutError("damaged lz4: no block header where one is due")
        token, packed, length, checksum = struct.unpack("<BiiI", head[8:])
        log.unended = bool(length)
        if not length:
            continue
        data = block = source.exactly(packed)
        if token & 0xF0 != 0x10:
            _bounded(length)
            block = _unpacked(partial(cramjam.lz4.decompress_block, data, output_len=length))
        # Writers that are not Java's leave the checksum out.
        if checksum and xxh32_intdigest(block, _LZ4_SEED) & _LZ4_MASK != checksum:
            wrong += 1
            log.damage = [f"lz4: the checksum of {wrong} blocks does not hold"]
        yield block


def _snappy(_: Decoded, source: PeekedStream) -> Iterator[bytes]:
    """SnappyOutputStream: a header of 16 bytes, then blocks behind their length."""
    source.exactly(16)
    while head := source.read(4):
        if len(head) < 4:
            raise CutError("the log ends inside a block")
        if head == _SNAPPY_MAGIC[:4]:
            source.exactly(12)  # one stream after another, each with its header
            continue
        data = source.exactly(struct.unpack(">i", head)[0])
        yield _unpacked(partial(_unsnappy, data))


def _unsnappy(data: bytes) -> object:
    import cramjam

    # A damaged length must not reserve gigabytes.
    _bounded(cramjam.snappy.decompress_raw_len(data))
    return cramjam.snappy.decompress_raw(data)


def _lzf(_: Decoded, source: PeekedStream) -> Iterator[bytes]:
    """compress-lzf: chunks of at most 64 KB behind `ZV`, their type and their length."""
    while head := source.read(5):
        if len(head) < 5 or not head.startswith(b"ZV") or head[2] > 1:
            raise CutError("damaged lzf: no chunk header where one is due")
        size = head[3] << 8 | head[4]
        if head[2] == 0:
            yield source.exactly(size)
        else:
            length = int.from_bytes(source.exactly(2), "big")
            yield _unlzf(source.exactly(size), length)


def _unlzf(data: bytes, length: int) -> bytes:
    """LibLZF's format: runs of literals, and references up to 8 KB back."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            size = control >> 5
            if size == 7:
                size += data[at]
                at += 1
            start = len(out) - ((control & 0x1F) << 8 | data[at]) - 1
            at += 1
            _repeat(out, start, size + 2)
    except IndexError as error:
        raise CutError("damaged lzf: a reference without its bytes") from error
    if len(out) != length:
        raise CutError("damaged lzf: a chunk of another length than it says")
    return bytes(out)


def _repeat(out: bytearray, start: int, size: int) -> None:
    if start < 0:
        raise CutError("damaged lzf: a reference before the chunk")
    gap = len(out) - start
    piece = out[start : start + size]
    # A reference may overlap what it makes: then its first `gap` bytes repeat.
    out += piece if size <= gap else (piece * (size // gap + 1))[:size]


def _bounded(length: int) -> None:
    if not 0 < length <= _LARGEST_BLOCK_BYTES:
        raise CutError(f"a block of {length} bytes is announced")


def _unpacked(decode: Callable[[], object]) -> bytes:
    try:
        return bytes(decode())  # type: ignore[call-overload,no-any-return]
    except Exception as error:  # cramjam raises its own and, at odd input, panics of pyo3
        raise CutError(f"a damaged block: {error}") from error


_DECODERS: dict[Codec, Callable[[Decoded, PeekedStream], Iterator[bytes]]] = {
    "plain": _plain,
    "zstd": _zstd,
    "gzip": _gzip,
    "lz4": _lz4,
    "snappy": _snappy,
    "lzf": _lzf,
}
