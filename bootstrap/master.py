#!/usr/bin/env python3
"""What a standalone master says of its workers, for whoever waits for them.

    master.py await COUNT SECONDS     that many workers are ALIVE
    master.py workers                 the workers, as a JSON document
    master.py drained ADDRESS SECONDS no executor runs on the worker of that address any more

Asks the page on port 8080 of SPARK_LOCAL_IP; exit code 1 and a sentence where it does not come so
in time.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any

LOOK_S, PAGE_S = 0.2, 5.0


def page(url: str) -> dict[str, Any]:
    """What a daemon says of itself; empty where it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/json/", timeout=PAGE_S) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return {}
    return found


def document() -> dict[str, Any]:
    """The master's own account."""
    return page(f"http://{os.environ['SPARK_LOCAL_IP']}:8080")


def workers(*states: str) -> list[dict[str, Any]]:
    """The workers in these states."""
    return [one for one in document().get("workers", ()) if one["state"] in states]


def awaited(count: int, seconds: float) -> str:
    """A sentence once so many workers are alive; SystemExit says how many came."""
    end = time.monotonic() + seconds
    while len(alive := workers("ALIVE")) < count:
        if time.monotonic() > end:
            hosts = ", ".join(sorted(one["host"] for one in alive)) or "none"
            told = f"{len(alive)} of {count} workers came in {seconds:.0f} s: {hosts}"
            sys.exit(told if document() else f"no master answers after {seconds:.0f} s")
        time.sleep(LOOK_S)
    cores = sum(one["cores"] for one in alive)
    return f"the master has {len(alive)} workers with {cores} cores"


def drained(address: str, seconds: float) -> str:
    """A sentence once nothing runs on the worker; SystemExit where something still does."""
    end = time.monotonic() + seconds
    while True:
        here = [one for one in workers("ALIVE", "DECOMMISSIONED") if one["host"] == address]
        waiting = any(one["state"] == "ALIVE" for one in here)
        # The master counts a decommissioned worker's cores for ever; the worker itself knows.
        pages = {one["webuiaddress"] for one in here}
        busy = sum(len(page(url).get("executors", ())) for url in sorted(pages))
        if not busy and not waiting:
            return f"nothing runs on {address} any more"
        if time.monotonic() > end:
            sys.exit(f"{busy} executors of {address} still run after {seconds:.0f} s")
        time.sleep(LOOK_S)


if __name__ == "__main__":
    verb, *given = sys.argv[1:] or [""]
    if verb == "await":
        print(awaited(int(given[0]), float(given[1])))
    elif verb == "drained":
        print(drained(given[0], float(given[1])))
    elif verb == "workers":
        print(json.dumps(document().get("workers", [])))
    else:
        sys.exit("usage: master.py await COUNT SECONDS | workers | drained ADDRESS SECONDS")
