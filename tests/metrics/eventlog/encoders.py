"""Encoders of lz4-java, snappy-java and compress-lzf, for tests."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
import zstandard
from xxhash import xxh32_intdigest

BLOCK = 32 * 1024


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


def lz4(data: bytes) -> bytes:
    out = b""
    for number, piece in enumerate(_pieces(data)):
        packed = bytes(cramjam.lz4.compress_block(piece, store_size=False))
        token, body = (0x10, piece) if number % 5 == 4 else (0x20, packed)
        checksum = xxh32_intdigest(piece, 0x9747B28C) & 0x0FFFFFFF
        out += b"LZ4Block" + struct.pack("<BiiI", token | 5, len(body), len(piece), checksum) + body
    return out + b"LZ4Block" + struct.pack("<BiiI", 0x15, 0, 0, 0)


def snappy(data: bytes) -> bytes:
    out = b""
    for number, piece in enumerate(_pieces(data)):
        if number in {0, 3}:  # a second stream behind the first, as after an append
            out += b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
        packed = bytes(cramjam.snappy.compress_raw(piece))
        out += struct.pack(">i", len(packed)) + packed
    return out


def lzf(data: bytes) -> bytes:
    out = b""
    for number, piece in enumerate(_pieces(data)):
        packed = _lzf_block(piece)
        if number % 4 == 3:
            out += b"ZV\x00" + struct.pack(">H", len(piece)) + piece
        else:
            out += b"ZV\x01" + struct.pack(">HH", len(packed), len(piece)) + packed
    return out


def _lzf_block(data: bytes) -> bytes:
    """Compress LZF: literals, and references to the last occurrence of 3 bytes."""
    out, literals, at = bytearray(), bytearray(), 0
    places: dict[bytes, int] = {}

    def flush() -> None:
        for start in range(0, len(literals), 32):
            run = literals[start : start + 32]
            out.append(len(run) - 1)
            out.extend(run)
        literals.clear()

    while at < len(data):
        key = data[at : at + 3]
        before = places.get(key, -1)
        places[key] = at
        if before < 0 or at - before > 8192 or len(key) < 3:
            literals.append(data[at])
            at += 1
            continue
        size = 3
        while size < 264 and at + size < len(data) and data[before + size] == data[at + size]:
            size += 1
        flush()
        back, length = at - before - 1, size - 2
        if length < 7:
            out += bytes((length << 5 | back >> 8, back & 0xFF))
        else:
            out += bytes((7 << 5 | back >> 8, length - 7, back & 0xFF))
        at += size
    flush()
    return bytes(out)


def zstd(data: bytes) -> bytes:
    """Compress to several frames: Spark closes a frame at each flush."""
    packer = zstandard.ZstdCompressor()
    return b"".join(packer.compress(piece) for piece in _pieces(data))


def gzip_members(data: bytes) -> bytes:
    middle = len(data) // 2
    return gzip.compress(data[:middle]) + gzip.compress(data[middle:])


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "zstd": zstd,
    "gzip": gzip_members,
    "lz4": lz4,
    "snappy": snappy,
    "lzf": lzf,
}
