"""Threads of a cluster: work in the background, and checks that are repeated."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def start(target: Callable[..., None], *arguments: object) -> threading.Thread:
    """Call `target` in a thread that does not keep the emulator running."""
    thread = threading.Thread(target=target, name=target.__name__, args=arguments, daemon=True)
    thread.start()
    return thread


def repeat(
    check: Callable[[], None], interval_s: float, stopped: threading.Event, failure: str
) -> threading.Thread:
    """Call `check` every `interval_s` seconds in a thread, until `stopped` is set.

    An exception is logged with the text `failure`, and the next check follows nevertheless.
    """

    def run() -> None:
        while not stopped.wait(interval_s):
            try:
                check()
            except Exception:  # noqa: BLE001
                _log.exception(failure)

    return start(run)
