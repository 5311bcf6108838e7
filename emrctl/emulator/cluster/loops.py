"""Checks of a cluster that a thread repeats until the cluster shuts down."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def start(
    check: Callable[[], None], interval_s: float, stopped: threading.Event, failure: str
) -> None:
    """Call `check` every `interval_s` seconds in a thread, until `stopped` is set.

    An exception is logged with the text `failure`, and the next check follows nevertheless.
    """

    def run() -> None:
        while not stopped.wait(interval_s):
            try:
                check()
            except Exception:  # noqa: BLE001
                _log.exception(failure)

    threading.Thread(target=run, name=failure, daemon=True).start()
