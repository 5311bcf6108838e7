#!/usr/bin/env python3
"""Query a standalone master about its workers.

    master.py await COUNT SECONDS     wait until COUNT workers are ALIVE
    master.py workers                 print the workers as a JSON document
    master.py drained ADDRESS SECONDS wait until the worker at ADDRESS runs no executors

Reads the web UI on port 8080 of SPARK_LOCAL_IP. Exits with 1 and a message on a timeout.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any

POLL_S, PAGE_S = 0.2, 5.0


def get_page(url: str) -> dict[str, Any]:
    """Return a daemon's JSON page; empty if it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/json/", timeout=PAGE_S) as response:
            document: dict[str, Any] = json.load(response)
    except (OSError, ValueError):
        return {}
    return document


def get_master() -> dict[str, Any]:
    """Return the master's JSON page."""
    return get_page(f"http://{os.environ['SPARK_LOCAL_IP']}:8080")


def list_workers(*states: str) -> list[dict[str, Any]]:
    """Return the workers in these states."""
    return [one for one in get_master().get("workers", ()) if one["state"] in states]


def await_workers(count: int, seconds: float) -> str:
    """Wait until `count` workers are alive; return a message, exit on a timeout."""
    deadline = time.monotonic() + seconds
    while len(alive := list_workers("ALIVE")) < count:
        if time.monotonic() > deadline:
            if not get_master():
                sys.exit(f"the master did not answer within {seconds:.0f} s")
            hosts = ", ".join(sorted(one["host"] for one in alive)) or "none"
            sys.exit(f"{len(alive)} of {count} workers registered in {seconds:.0f} s: {hosts}")
        time.sleep(POLL_S)
    cores = sum(one["cores"] for one in alive)
    return f"the master has {len(alive)} workers with {cores} cores"


def await_drained(address: str, seconds: float) -> str:
    """Wait until the worker runs no executors; return a message, exit on a timeout."""
    deadline = time.monotonic() + seconds
    while True:
        workers = [one for one in list_workers("ALIVE", "DECOMMISSIONED") if one["host"] == address]
        decommissioned = all(one["state"] != "ALIVE" for one in workers)
        # The master never releases a decommissioned worker's cores, so ask the worker itself.
        pages = {one["webuiaddress"] for one in workers}
        executors = sum(len(get_page(url).get("executors", ())) for url in sorted(pages))
        if not executors and decommissioned:
            return f"no executors are running on {address}"
        if time.monotonic() > deadline:
            sys.exit(f"{executors} executors on {address} are still running after {seconds:.0f} s")
        time.sleep(POLL_S)


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:] or [""]
    if verb == "await":
        print(await_workers(int(arguments[0]), float(arguments[1])))
    elif verb == "drained":
        print(await_drained(arguments[0], float(arguments[1])))
    elif verb == "workers":
        print(json.dumps(get_master().get("workers", [])))
    else:
        sys.exit("usage: master.py await COUNT SECONDS | workers | drained ADDRESS SECONDS")
