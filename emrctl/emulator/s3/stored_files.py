"""The emulator's own access to objects, without HTTP."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emrctl.emulator.s3.index import StoredObject
from emrctl.emulator.s3.store import ObjectStore


@dataclass(frozen=True)
class StoredFiles:
    """Objects of the store, in moto's buckets."""

    store: ObjectStore
    buckets: Mapping[str, Any]

    def read(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content, or None."""
        stored = self.store.get(bucket, key) if bucket in self.buckets else None
        if stored is None or stored.marker:
            return None
        return b"".join(self.store.blobs.read(stored.segments, 0, stored.size))

    def write(self, bucket: str, key: str, blocks: Iterable[bytes]) -> bool:
        """Write an object; return False if there is no such bucket."""
        if bucket not in self.buckets:
            return False
        digest = hashlib.md5(usedforsecurity=False)

        def hashed() -> Iterator[bytes]:
            for block in blocks:
                digest.update(block)
                yield block

        segment = self.store.blobs.write(hashed())
        stored = StoredObject(
            key=key,
            size=segment.size,
            etag=f'"{digest.hexdigest()}"',
            modified=time.time(),
            segments=(segment,),
        )
        self.store.put(bucket, stored, self.buckets[bucket].versioning_status)
        return True
