"""Any key that S3 accepts: stored, listed, copied and deleted as itself, also where a file system
would mix keys up. The keys are generated with a fixed seed.
"""

from __future__ import annotations

import random
import unicodedata

import pytest
import requests

from emrctl.aws.target import Target
from tests.emulator.s3.conftest import Client
from tests.emulator.sigv4_reference import Request

# Keys of which several would be one file, or none.
COLLIDING = (
    *("o/a", "o/a/b", "o/a/", "o//a", "o/./a", "o/../a", "..", ".", "/", "//", "../../etc/passwd"),
    *("Case", "case", "CASE", "con", "nul.txt", "a\\b", "a:b", "~", "-rf", "a\tb", "a\nb", "a\rb"),
    *("e\u0301", "\u00e9", "\u212b", "\u00c5", "\ufb01", "fi", "ß", "ss", "\u0130", "i\u0307"),
    *("a\u200bb", "\u202eabc", "\U0001f600", "\ufffd", "\x01", "\x7f", "x" * 255, "x" * 256),
    *("x" * 1024, "ü" * 512, "d/" * 512, "%2e%2e", "%", "%%41", "a?b", "a#b", "a&b=c", "+", " "),
    *("a ", " a", "<Key>", "]]>", "&amp;", '"', "'", "null", "None", "0", "-1", ".emrctl"),
)
_CHARACTERS = [
    *"abAB01/._-~%+&=?#<>\"' \t",
    *("\u00e9", "e\u0301", "\u0130", "\u4e2d", "\U0001f600", "\ufeff", "\u2028", "\x7f", "\x1b"),
]


def generated(seed: int, count: int = 60) -> list[str]:
    choose = random.Random(seed)  # noqa: S311
    keys: set[str] = set()
    while len(keys) < count:
        key = "".join(choose.choices(_CHARACTERS, k=choose.randrange(1, 40)))
        keys.add(key)
        keys.add(unicodedata.normalize(choose.choice(["NFC", "NFD", "NFKC"]), key))
        keys.add(key.swapcase())
        keys.add(f"{key}/{choose.choice(_CHARACTERS)}")
    return [key for key in keys if len(key.encode()) <= 1024]


@pytest.mark.parametrize("keys", [COLLIDING, generated(1), generated(2)], ids=["colliding", 1, 2])
def test_every_key_is_an_object_of_its_own(s3: Client, bucket: str, keys: list[str]) -> None:
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"n": str(len(key))})
    listed = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 7}
    ):
        listed += [item["Key"] for item in page.get("Contents", ())]
    assert listed == sorted(keys, key=str.encode)
    for number, key in enumerate(keys):
        answer = s3.get_object(Bucket=bucket, Key=key)
        assert answer["Body"].read() == key.encode()
        assert answer["Metadata"] == {"n": str(len(key))}
        if number % 5 == 0:
            source = {"Bucket": bucket, "Key": key}
            s3.copy_object(Bucket=bucket, Key="the-copy", CopySource=source)
            assert s3.get_object(Bucket=bucket, Key="the-copy")["Body"].read() == key.encode()
    s3.delete_object(Bucket=bucket, Key="the-copy")
    for key in keys[::2]:
        s3.delete_object(Bucket=bucket, Key=key)
    left = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert [item["Key"] for item in left] == sorted(keys[1::2], key=str.encode)
    for key in keys[1::2]:  # one by one, since XML of DeleteObjects has no control characters
        s3.delete_object(Bucket=bucket, Key=key)


@pytest.mark.parametrize("path", ["/%FF%FE", "/a%C3"])
def test_key_that_is_not_utf_8_is_rejected(
    instances: Target, s3: Client, bucket: str, path: str
) -> None:
    request = Request(path=f"/{bucket}{path}")
    own, endpoint = s3._request_signer._credentials, str(instances.endpoint)
    signed = request.sign(endpoint.partition("//")[2], own.access_key, own.secret_key)
    answer = requests.get(endpoint + request.path, headers=signed, timeout=60)
    assert (answer.status_code, "<Code>InvalidURI</Code>" in answer.text) == (400, True)
