"""Which resources the local provider is about to make: what is left in it was cut off.

The real engine forgets a create whose provider was killed with it. By its journal the provider
then looks on AWS before it makes the resource a second time.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from emrctl.paths import write_atomically


class CreateJournal:
    """The URNs whose creation has begun and has not ended, in a file of one stack."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open = self._read()

    def begun(self, urn: str) -> bool:
        """Whether the creation was cut off before; it counts as begun afterwards."""
        with self._lock:
            before = urn in self._open
            self._open.add(urn)
            self._write()
        return before

    def ended(self, urn: str) -> None:
        """The creation has ended, one way or the other."""
        with self._lock:
            self._open.discard(urn)
            self._write()

    def _read(self) -> set[str]:
        try:
            return set(json.loads(self._path.read_text()))
        except (FileNotFoundError, json.JSONDecodeError):
            return set()

    def _write(self) -> None:
        if not self._open:
            self._path.unlink(missing_ok=True)
            return
        write_atomically(self._path, json.dumps(sorted(self._open)))
