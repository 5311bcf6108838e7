from __future__ import annotations

import base64
import random
import zlib

import pytest

from emrctl.emulator.s3 import checksums

# The check values of https://reveng.sourceforge.io/crc-catalogue: the CRC of these digits.
DIGITS = b"123456789"
CHECKS = {"CRC32": 0xCBF43926, "CRC32C": 0xE3069283, "CRC64NVME": 0xAE8B14860A799888}


@pytest.mark.parametrize("name", checksums.CRCS)
def test_crc_of_digits_is_the_check_value(name: str) -> None:
    assert checksums.CRCS[name].compute(DIGITS) == CHECKS[name]
    checksum = checksums.new(name)
    for start in range(0, 9, 2):
        checksum.update(DIGITS[start : start + 2])
    assert int.from_bytes(checksum.digest(), "big") == CHECKS[name]


@pytest.mark.parametrize("size", [0, 1, 7, 511, 512, 513, 5000, 262_144, 1_000_003])
def test_crc_of_long_data_equals_zlib(size: int) -> None:
    data = random.Random(size).randbytes(size)  # noqa: S311
    assert checksums.CRCS["CRC32"].compute(data) == zlib.crc32(data)


@pytest.mark.parametrize("name", checksums.CRCS)
def test_crcs_of_parts_combine_to_that_of_the_whole(name: str) -> None:
    crc, data = checksums.CRCS[name], random.Random(1).randbytes(4000)  # noqa: S311
    for cut in (0, 1, 3999, 1234):
        first, second = crc.compute(data[:cut]), crc.compute(data[cut:])
        assert crc.combine(first, second, len(data) - cut) == crc.compute(data)


def test_checksums_of_parts() -> None:
    parts = [b"a" * 100, b"b" * 50]
    values = [(encode("CRC32", part), len(part)) for part in parts]
    assert checksums.of_parts("CRC32", "FULL_OBJECT", values) == encode("CRC32", b"".join(parts))
    digests = b"".join(base64.b64decode(value) for value, _ in values)
    composite = f"{encode('CRC32', digests)}-2"
    assert checksums.of_parts("CRC32", "COMPOSITE", values) == composite
    assert checksums.of_parts("CRC32", "COMPOSITE", [*values, ("", 1)]) is None


def encode(name: str, data: bytes) -> str:
    checksum = checksums.new(name)
    checksum.update(data)
    return checksums.encoded(checksum.digest())
