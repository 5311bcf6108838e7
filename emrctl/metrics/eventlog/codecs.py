"""Decoders of Spark's compression codecs, block by block.

Spark does not use the standard frame formats but `LZ4Block` of lz4-java, the stream of
snappy-java and the chunks of compress-lzf. The codec is detected from the first bytes because
file names are unreliable.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Protocol

Codec = Literal["plain", "zstd", "gzip", "lz4", "snappy", "lzf"]

#: Values of spark.eventLog.compression.codec.
SPARK_CODECS: frozenset[Codec] = frozenset({"zstd", "lz4", "snappy", "lzf"})
BLOCK_BYTES = 1 << 19
# Small, because compression ratios reach 100.
_ZSTD_BYTES = 1 << 15
# The seed of lz4-java's checksum, and the bits that it stores.
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
# Spark's codecs write smaller blocks (lz4 up to 32 MB): a larger length is damage.
_MAX_BLOCK_BYTES = 64 << 20


class CutError(Exception):
    """The log ends inside a block, or a block is damaged; earlier blocks are valid."""


def detect_codec(head: bytes) -> Codec:
    """Return the codec of a stream by its first 8 bytes, or fewer if it is truncated."""
    for magic, codec in _MAGICS:
        if head and (head.startswith(magic) or magic.startswith(head)):
            return codec
    return "plain"


class ByteStream(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes."""


class PeekedStream:
    """A stream whose first bytes may already have been read."""

    def __init__(self, stream: ByteStream, head: bytes = b"") -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, fewer only at the end; all remaining bytes if negative."""
        if size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read()
        head, self._head = self._head[:size], self._head[size:]
        pieces, missing = [head], size - len(head)
        while missing and (piece := self._stream.read(missing)):
            if len(piece) == size:
                return piece
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        """Read `size` bytes or raise `CutError`."""
        if size < 0 or size > _MAX_BLOCK_BYTES:
            raise CutError(f"invalid block length {size}")
        data = self.read(size)
        if len(data) < size:
            raise CutError("the log ends inside a block")
        return data


class DecodedStream:
    """The decoded blocks of a stream.

    After the last block, `damage` describes damage that did not prevent decoding; `unterminated`
    means that the end mark of the codec is missing, as while Spark is writing the log.
    """

    def __init__(self, stream: ByteStream) -> None:
        head = PeekedStream(stream).read(len(_SNAPPY_MAGIC))
        self.codec = detect_codec(head)
        self.damage: list[str] = []
        self.unterminated = False
        self._source = PeekedStream(stream, head)

    def blocks(self) -> Iterator[bytes]:
        """Yield decoded blocks; raise `CutError` after the last valid one."""
        return _DECODERS[self.codec](self, self._source)


def decode(stream: ByteStream) -> Iterator[bytes]:
    """Yield decoded blocks; raise `CutError` after the last valid one."""
    return DecodedStream(stream).blocks()


def _plain(_: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    while block := source.read(BLOCK_BYTES):
        yield block


def _zstd(_: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    import zstandard

    # Spark closes a frame at each flush, so a log has many frames.
    decompressor = zstandard.ZstdDecompressor()
    frame, inside_frame = decompressor.decompressobj(), False
    try:
        while data := source.read(_ZSTD_BYTES):
            while data:
                if frame.eof:
                    frame = decompressor.decompressobj()
                if block := frame.decompress(data):
                    yield block
                data = frame.unused_data
            inside_frame = not frame.eof
    except zstandard.ZstdError as error:
        raise CutError(f"damaged zstd: {error}") from error
    if inside_frame:
        raise CutError("the log ends inside a zstd frame")


def _gzip(_: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    data = b""
    try:
        while data := data or source.read(1 << 16):
            if inflater.eof:  # Databricks appends gzip members
                inflater = zlib.decompressobj(wbits=31)
            yield inflater.decompress(data, BLOCK_BYTES)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise CutError(f"damaged gzip: {error}") from error
    if not inflater.eof:
        raise CutError("the log ends inside a gzip member")


def _lz4(log: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    """LZ4BlockOutputStream: magic, token, compressed and original length, checksum, data."""
    import cramjam
    from xxhash import xxh32_intdigest

    wrong = 0
    log.unterminated = True
    while head := source.read(21):
        if len(head) < 21 or not head.startswith(_LZ4_MAGIC):
            raise CutError("damaged lz4: invalid block header")
        token, compressed, length, checksum = struct.unpack("<BiiI", head[8:])
        log.unterminated = bool(length)
        if not length:
            continue
        data = block = source.exactly(compressed)
        if token & 0xF0 != 0x10:
            _check_length(length)
            block = _decompress(partial(cramjam.lz4.decompress_block, data, output_len=length))
        # Other writers than Java's omit the checksum.
        if checksum and xxh32_intdigest(block, _LZ4_SEED) & _LZ4_MASK != checksum:
            wrong += 1
            log.damage = [f"lz4: {wrong} blocks have a wrong checksum"]
        yield block


def _snappy(_: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    """SnappyOutputStream: a header of 16 bytes, then blocks prefixed by their length."""
    source.exactly(16)
    while head := source.read(4):
        if len(head) < 4:
            raise CutError("the log ends inside a block")
        if head == _SNAPPY_MAGIC[:4]:
            source.exactly(12)  # header of an appended stream
            continue
        data = source.exactly(struct.unpack(">i", head)[0])
        yield _decompress(partial(_unsnappy, data))


def _unsnappy(data: bytes) -> object:
    import cramjam

    # A damaged length must not allocate gigabytes.
    _check_length(cramjam.snappy.decompress_raw_len(data))
    return cramjam.snappy.decompress_raw(data)


def _lzf(_: DecodedStream, source: PeekedStream) -> Iterator[bytes]:
    """compress-lzf: chunks of at most 64 KB after `ZV`, type and length."""
    while head := source.read(5):
        if len(head) < 5 or not head.startswith(b"ZV") or head[2] > 1:
            raise CutError("damaged lzf: invalid chunk header")
        size = head[3] << 8 | head[4]
        if head[2] == 0:
            yield source.exactly(size)
        else:
            length = int.from_bytes(source.exactly(2), "big")
            yield _unlzf(source.exactly(size), length)


def _unlzf(data: bytes, length: int) -> bytes:
    """Decompress LibLZF: runs of literals, and references up to 8 KB back."""
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
        raise CutError("damaged lzf: truncated chunk") from error
    if len(out) != length:
        raise CutError("damaged lzf: wrong chunk length")
    return bytes(out)


def _repeat(out: bytearray, start: int, size: int) -> None:
    if start < 0:
        raise CutError("damaged lzf: reference before the chunk")
    gap = len(out) - start
    piece = out[start : start + size]
    # A reference may overlap its own output: then the first `gap` bytes repeat.
    out += piece if size <= gap else (piece * (size // gap + 1))[:size]


def _check_length(length: int) -> None:
    if not 0 < length <= _MAX_BLOCK_BYTES:
        raise CutError(f"invalid block length {length}")


def _decompress(decompress: Callable[[], object]) -> bytes:
    try:
        return bytes(decompress())  # type: ignore[call-overload,no-any-return]
    except Exception as error:  # cramjam raises its own errors and panics of pyo3
        raise CutError(f"damaged block: {error}") from error


_DECODERS: dict[Codec, Callable[[DecodedStream, PeekedStream], Iterator[bytes]]] = {
    "plain": _plain,
    "zstd": _zstd,
    "gzip": _gzip,
    "lz4": _lz4,
    "snappy": _snappy,
    "lzf": _lzf,
}
