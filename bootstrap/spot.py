#!/usr/bin/env python3
"""Run a program when EC2 announces the interruption of this spot instance.

    spot.py PROGRAM…      the command to run, once

EC2 announces an interruption two minutes ahead, in the instance metadata (queried with an IMDSv2
token, at AWS_EC2_METADATA_SERVICE_ENDPOINT or the link-local address). Kept running by daemon.sh;
sleeps if metadata are disabled (AWS_EC2_METADATA_DISABLED).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

POLL_S, TOKEN_S, PAGE_S = 5.0, 300, 2.0
BASE = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def query_metadata(path: str, method: str = "GET", **headers: str) -> str:
    """Return the metadata at a path; OSError if there are none."""
    prefixed = {f"X-aws-ec2-metadata-{key.replace('_', '-')}": headers[key] for key in headers}
    request = urllib.request.Request(f"{BASE}/latest/{path}", headers=prefixed, method=method)  # noqa: S310 - the instance's own metadata
    with OPENER.open(request, timeout=PAGE_S) as response:
        return str(response.read().decode())


def is_interruption_announced() -> bool:
    """Return whether EC2 is about to interrupt the instance."""
    try:
        token = query_metadata("api/token", "PUT", token_ttl_seconds=str(TOKEN_S))
        action = query_metadata("meta-data/spot/instance-action", token=token)
    except OSError:  # 404 until an interruption is announced
        return False
    print(f"spot.py: {action}", flush=True)
    return True


def main(*program: str) -> None:
    """Wait for an announcement, run the program, then sleep."""
    enabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"
    while not (enabled and is_interruption_announced()):
        time.sleep(POLL_S if enabled else 3600)
    subprocess.run(program, check=True)
    time.sleep(3600)  # after a restart by daemon.sh the program would run again


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: spot.py PROGRAM…")
    main(*sys.argv[1:])
