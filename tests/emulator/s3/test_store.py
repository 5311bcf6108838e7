"""The store in a folder: lists, versions, recovery, full disks."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from emrctl.emulator.s3 import uploads
from emrctl.emulator.s3.errors import S3Error, precondition_failed, storage_error
from emrctl.emulator.s3.index import Attributes, StoredObject
from emrctl.emulator.s3.store import ENABLED, SUSPENDED, KeyPage, ListQuery, ObjectStore
from emrctl.emulator.s3.uploads import Part, Upload, Uploads
from emrctl.errors import ProvisioningError

BUCKET = "pets"


def put(
    store: ObjectStore, key: str, content: bytes = b"x", versioning: str | None = None
) -> StoredObject:
    segment = store.blobs.write([content])
    stored = StoredObject(key=key, size=len(content), modified=time.time(), segments=(segment,))
    return store.put(BUCKET, stored, versioning)


def content(store: ObjectStore, key: str, version: str | None = None) -> bytes | None:
    stored = store.get(BUCKET, key, version)
    if stored is None or stored.marker:
        return None
    return b"".join(store.blobs.read(stored.segments, 0, stored.size))


def files(store: ObjectStore) -> set[str]:
    return set(store.blobs.ids())


def pages(store: ObjectStore, **query: Any) -> Iterator[KeyPage]:
    after = ""
    while True:
        page = store.list_keys(ListQuery(bucket=BUCKET, after=after, **query))
        yield page
        if not page.truncated:
            return
        after = page.last


def expected(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    """Return keys and common prefixes in the order of S3's lists."""
    found = set()
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if end < 0 else key[: end + len(delimiter)])
    return sorted(found, key=str.encode)


@pytest.mark.parametrize("seed", range(8))
def test_pages_of_any_size_list_every_key_once(store: ObjectStore, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311
    alphabet = ["a", "b", "/", "//", "é", "\U0001f600", "\uffff", "\x00", "~", " ", "%"]
    keys = list({"".join(choose.choices(alphabet, k=choose.randrange(1, 7))) for _ in range(120)})
    for key in keys:
        put(store, key)
    for _ in range(25):
        prefix = choose.choice(["", choose.choice(keys)[: choose.randrange(4)]])
        delimiter = choose.choice(["", "/", "//", "a", "é/"])
        query: dict[str, Any] = {
            "prefix": prefix,
            "delimiter": delimiter,
            "limit": choose.choice([1, 2, 7, 1000]),
        }
        listed = []
        for page in pages(store, **query):
            names = [*(stored.key for stored in page.objects), *page.prefixes]
            assert len(names) <= query["limit"]
            listed += sorted(names, key=str.encode)
        assert listed == expected(keys, prefix, delimiter), query


def test_list_of_many_keys_is_fast(store: ObjectStore) -> None:
    rows = [
        (BUCKET, f"data/{n % 50:02d}/{n:06d}".encode(), -1, "null", 1, 0, 0, '""', 0.0, "", b"{}")
        for n in range(100_000)
    ]
    with store.index.writing() as connection:
        marks = ",".join("?" * 11)
        connection.executemany(f"INSERT INTO objects VALUES ({marks})", rows)  # noqa: S608
    start = time.process_time()
    folders = store.list_keys(ListQuery(bucket=BUCKET, prefix="data/", delimiter="/"))
    last = store.list_keys(ListQuery(bucket=BUCKET, after="data/49/099000"))
    assert time.process_time() - start < 1.0  # 10 ms here; a scan of all keys takes longer
    assert len(folders.prefixes) == 50
    assert [stored.key for stored in last.objects][-1] == "data/49/099999"


def test_versions_are_kept_and_listed_newest_first(store: ObjectStore) -> None:
    put(store, "a", b"unversioned")
    second = put(store, "a", b"second", ENABLED)
    store.delete(BUCKET, "a", versioning=ENABLED)
    assert content(store, "a") is None
    assert content(store, "a", second.version) == b"second"
    assert content(store, "a", "null") == b"unversioned"
    listed = store.list_keys(ListQuery(bucket=BUCKET, versions=True)).objects
    assert [(one.marker, one.latest) for one in listed] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    store.delete(BUCKET, "a", listed[0].version, versioning=ENABLED)
    assert content(store, "a") == b"second"
    put(store, "a", b"suspended", SUSPENDED)
    assert content(store, "a", "null") == content(store, "a") == b"suspended"
    assert len(files(store)) == 2


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_versions_are_listed_although_listed_ones_are_deleted(
    store: ObjectStore, limit: int
) -> None:
    for key in "ab":
        for number in range(4):
            put(store, key, bytes([number]), ENABLED)
    seen, key, version = [], "", ""
    while True:
        query = ListQuery(
            bucket=BUCKET, versions=True, limit=limit, after=key, after_version=version
        )
        page = store.list_keys(query)
        seen += [(one.key, one.version) for one in page.objects]
        store.delete_many(BUCKET, seen, ENABLED)
        if not page.truncated:
            break
        key, version = page.objects[-1].key, page.objects[-1].version
    assert len(set(seen)) == len(seen) == 8
    assert not store.has_objects(BUCKET)
    assert files(store) == set()


def test_replaced_and_deleted_objects_leave_no_files(store: ObjectStore) -> None:
    put(store, "a", b"1")
    put(store, "a", b"2")
    assert content(store, "a") == b"2"
    assert len(files(store)) == 1
    store.delete(BUCKET, "a")
    store.delete(BUCKET, "a")
    assert files(store) == set()


def test_copy_shares_the_file_and_survives_the_source(store: ObjectStore) -> None:
    source = put(store, "a", b"content")
    segments = tuple(store.blobs.copy(segment) for segment in source.segments)
    store.put(BUCKET, StoredObject(key="b", size=7, segments=segments))
    paths = [Path(store.blobs.path(one.id)) for one in (*segments, *source.segments)]
    assert paths[0].samefile(paths[1])
    store.delete(BUCKET, "a")
    assert content(store, "b") == b"content"


def test_copy_without_hard_links_copies(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", link)
    source = put(store, "a", b"content")
    [copy] = [store.blobs.copy(segment) for segment in source.segments]
    assert Path(store.blobs.path(copy.id)).read_bytes() == b"content"


def test_open_object_is_readable_after_its_deletion(store: ObjectStore) -> None:
    stored = put(store, "a", b"content")
    with store.blobs.opened(stored.segments) as opened:
        store.delete(BUCKET, "a")
        assert os.pread(opened[0][0], 10, 0) == b"content"


def test_failed_condition_deletes_the_new_file_and_keeps_the_object(store: ObjectStore) -> None:
    def condition(current: StoredObject | None) -> None:
        assert current is not None
        raise precondition_failed("If-None-Match")

    put(store, "a", b"old")
    stored = StoredObject(key="a", size=3, segments=(store.blobs.write([b"new"]),))
    with pytest.raises(Exception, match="PreconditionFailed"):
        store.put(BUCKET, stored, None, condition)
    assert content(store, "a") == b"old"
    assert len(files(store)) == 1


def test_next_store_deletes_files_without_object_and_objects_without_file(tmp_path: Path) -> None:
    with contextlib.closing(ObjectStore(tmp_path)) as store:
        put(store, "kept", b"1")
        lost = put(store, "lost", b"2")
        Path(store.blobs.path(lost.segments[0].id)).unlink()
        store.blobs.write([b"killed before the commit"])
    with contextlib.closing(ObjectStore(tmp_path)) as store:
        assert content(store, "kept") == b"1"
        assert store.get(BUCKET, "lost") is None
        assert len(files(store)) == 1


def test_full_disk_leaves_no_file_and_no_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_descriptor: int, _block: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left") as caught:
        put(store, "a", b"content")
    response = storage_error(caught.value)
    assert response is not None
    assert (response.code, response.status) == ("InternalError", 507)
    assert files(store) == set()
    assert store.get(BUCKET, "a") is None


def test_full_index_leaves_no_file_and_no_object(store: ObjectStore) -> None:
    with store.index.reading() as connection:
        [(used,)] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {used + 2}")

    def fill() -> None:
        for number in range(1000):
            put(store, f"key-{number:04d}" + "x" * 500, b"content")

    with pytest.raises(sqlite3.OperationalError) as caught:
        fill()
    response = storage_error(caught.value)
    assert response is not None
    assert response.status == 507
    stored = store.list_keys(ListQuery(bucket=BUCKET)).objects
    assert 0 < len(stored) == len(files(store)) < 1000
    put_again = stored[0].key
    assert content(store, put_again) == b"content"


def test_interleaved_completions_of_an_upload_keep_the_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Uploads(store), Uploads(store)
    upload = first.create(BUCKET, "a", Attributes())
    segment, etag = store.blobs.write([b"part"]), f'"{"0" * 32}"'
    part = Part(number=1, etag=etag, size=4, modified=time.time(), segments=(segment,))
    first.put_part(upload, part)

    def parts(upload: Upload) -> Sequence[Part]:
        """Return the parts as they were before the first caller completes the upload."""
        read = first.parts(upload)
        first.complete(upload, [(1, etag)], None, None)
        return read

    monkeypatch.setattr(second, "parts", parts)
    with pytest.raises(S3Error, match="NoSuchUpload"):
        second.complete(upload, [(1, etag)], None, None)
    with pytest.raises(S3Error, match="NoSuchUpload"):
        first.abort(upload)
    assert content(store, "a") == b"part"
    assert len(files(store)) == 1


def test_completion_refuses_a_replaced_part_and_does_not_delay_other_uploads(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_MIN_PART_BYTES", 1)
    monkeypatch.setattr(uploads, "_MAX_SEGMENTS", 1)
    of_store = Uploads(store)
    upload = of_store.create(BUCKET, "a", Attributes())
    etag = f'"{"0" * 32}"'

    def put_part(number: int, content: bytes, upload: Upload = upload) -> None:
        segment = store.blobs.write([content])
        part = Part(number=number, etag=etag, size=4, modified=time.time(), segments=(segment,))
        of_store.put_part(upload, part)

    refused: list[S3Error] = []

    def put_again() -> None:
        try:
            put_part(1, b"late")
        except S3Error as error:
            refused.append(error)

    put_part(1, b"part")
    put_part(2, b"two.")
    late = threading.Thread(target=put_again)
    other = of_store.create(BUCKET, "b", Attributes())
    parallel = threading.Thread(target=put_part, args=(1, b"part", other))
    read, delayed = store.blobs.read, []

    def read_slowly(*arguments: Any) -> Iterator[bytes]:
        late.start()
        late.join(0.2)
        parallel.start()
        parallel.join(10)
        delayed.append(parallel.is_alive())
        return read(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(store.blobs, "read", read_slowly)
        of_store.complete(upload, [(1, etag), (2, etag)], None, None)
    late.join()
    parallel.join()
    assert delayed == [False]
    assert [error.code for error in refused] == ["NoSuchUpload"]
    assert content(store, "a") == b"parttwo."
    assert len(files(store)) == 2


def test_other_errors_are_not_reported_as_full_disk() -> None:
    assert storage_error(OSError(errno.EACCES, "no")) is None


def test_deleted_bucket_leaves_nothing(store: ObjectStore) -> None:
    put(store, "a")
    store.delete_bucket(BUCKET)
    assert not store.has_objects(BUCKET)
    assert files(store) == set()


def test_damaged_index_is_named_with_the_command_that_deletes_it(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 1000)

    with pytest.raises(ProvisioningError, match=r"index\.sqlite is damaged: .*") as caught:
        ObjectStore(tmp_path)

    assert "`emrctl local down --delete`" in caught.value.hint
