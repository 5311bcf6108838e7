"""S3's checksum algorithms; CRCs of parts are combined without reading their content again.

zlib and hashlib have CRC32, SHA1 and SHA256. CRC32C and CRC64NVME are computed with numpy: the data
is split into rows whose CRCs are computed at the same time and then combined. `combine` is zlib's
crc32_combine for other polynomials: https://github.com/madler/zlib/blob/develop/crc32.c.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from dataclasses import dataclass
from typing import Any, Protocol

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
# Rows of about this many bytes.
_ROW_BYTES = 512


class Checksum(Protocol):
    """A checksum that is updated with blocks of the content."""

    def update(self, data: bytes, /) -> None:
        """Add the next block."""

    def digest(self) -> bytes:
        """Return the checksum of the blocks so far."""


@dataclass(frozen=True)
class Crc:
    """A reflected CRC, with initial value and final XOR of all ones."""

    polynomial: int
    bits: int

    @property
    def ones(self) -> int:
        """The initial value."""
        return (1 << self.bits) - 1

    def combine(self, first: int, second: int, length: int) -> int:
        """Return the CRC of two blocks; `length` is the second one's, in bytes."""
        return int(self._times(self._power(8 * length), first)) ^ second

    def compute(self, data: bytes) -> int:
        """Return the CRC of the data."""
        shifted = self._times(self._power(8 * len(data)), self.ones)
        return int(shifted) ^ self._linear(data) ^ self.ones

    def _times(self, factor: int, value: Any) -> Any:
        """Return the product modulo the polynomial; `value` is a number or an array."""
        product, bit = value & 0, 1 << (self.bits - 1)
        while factor:
            if factor & bit:
                product = product ^ value
                factor ^= bit
            bit >>= 1
            value = (value >> 1) ^ (value & 1) * self.polynomial
        return product

    def _power(self, exponent: int) -> int:
        """Return x to this power, modulo the polynomial."""
        result, square = 1 << (self.bits - 1), 1 << (self.bits - 2)
        while exponent:
            if exponent & 1:
                result = self._times(square, result)
            square = self._times(square, square)
            exponent >>= 1
        return result

    def _linear(self, data: bytes) -> int:
        """Return the CRC with initial value and final XOR of zero."""
        import numpy as np

        rows = 1 << max(0, (len(data) // _ROW_BYTES).bit_length() - 1)
        width = -(-len(data) // rows)
        # Leading zeros do not change it.
        padded = np.frombuffer(data.rjust(rows * width, b"\0"), np.uint8).reshape(rows, width)
        table, values = self._table(), np.zeros(rows, np.uint64)
        for column in padded.T:
            values = table[(values ^ column) & np.uint64(255)] ^ (values >> np.uint64(8))
        while rows > 1:
            factor = self._power(8 * width)
            values = self._times(factor, values[::2]) ^ values[1::2]
            rows, width = rows // 2, width * 2
        return int(values[0])

    @functools.cache  # noqa: B019 - there are two instances
    def _table(self) -> Any:
        """Return the CRCs of single bytes, which are those of Sarwate's algorithm."""
        import numpy as np

        values = np.arange(256, dtype=np.uint64)
        one, polynomial = np.uint64(1), np.uint64(self.polynomial)
        for _ in range(8):
            values = (values >> one) ^ (values & one) * polynomial
        return values


CRCS = {
    "CRC32": Crc(0xEDB88320, 32),
    "CRC32C": Crc(0x82F63B78, 32),
    "CRC64NVME": Crc(0x9A6C9329AC4BC9B5, 64),
}


class _ZlibCrc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _NumpyCrc:
    def __init__(self, crc: Crc) -> None:
        self._crc = crc
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._crc.combine(self._value, self._crc.compute(data), len(data))

    def digest(self) -> bytes:
        return self._value.to_bytes(self._crc.bits // 8, "big")


def new(algorithm: str) -> Checksum:
    """Return an empty checksum of one of `ALGORITHMS`."""
    if algorithm == "CRC32":
        return _ZlibCrc32()
    if algorithm in CRCS:
        return _NumpyCrc(CRCS[algorithm])
    return hashlib.new(algorithm.lower(), usedforsecurity=False)


def encoded(digest: bytes) -> str:
    """Return a digest as in headers and XML."""
    return base64.b64encode(digest).decode()


def of_parts(algorithm: str, kind: str, parts: list[tuple[str, int]]) -> str | None:
    """Return the checksum of an object from those of its parts with their sizes.

    FULL_OBJECT is the CRC of the whole content; COMPOSITE is the checksum of the parts' checksums
    and the number of parts. None if a part has no checksum.
    """
    if not all(value for value, _ in parts):
        return None
    digests = [base64.b64decode(value) for value, _ in parts]
    if kind == "COMPOSITE":
        checksum = new(algorithm)
        checksum.update(b"".join(digests))
        return f"{encoded(checksum.digest())}-{len(parts)}"
    crc, total = CRCS[algorithm], 0
    for digest, (_, size) in zip(digests, parts, strict=True):
        total = crc.combine(total, int.from_bytes(digest, "big"), size)
    return encoded(total.to_bytes(crc.bits // 8, "big"))
