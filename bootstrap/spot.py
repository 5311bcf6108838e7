#!/usr/bin/env python3
"""A worker on a spot instance gives up its work before EC2 takes the instance away.

    spot.py PROGRAM…      what is run once, as soon as EC2 gives notice

EC2 says so two minutes ahead, in the instance's metadata (AWS_EC2_METADATA_SERVICE_ENDPOINT,
default the link-local address; asked with a session's token, as IMDSv2 wants it). Kept running by
daemon.sh; where metadata are switched off (AWS_EC2_METADATA_DISABLED) it only sleeps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

LOOK_S, TOKEN_S, PAGE_S = 5.0, 300, 2.0
BASE = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def asked(path: str, method: str = "GET", **headers: str) -> str:
    """What the metadata say there; OSError where they say nothing."""
    named = {f"X-aws-ec2-metadata-{key.replace('_', '-')}": value for key, value in headers.items()}
    request = urllib.request.Request(f"{BASE}/latest/{path}", headers=named, method=method)  # noqa: S310 - the instance's own metadata
    with OPENER.open(request, timeout=PAGE_S) as answer:
        return str(answer.read().decode())


def noticed() -> bool:
    """Whether EC2 is about to take the instance away."""
    try:
        token = asked("api/token", "PUT", token_ttl_seconds=str(TOKEN_S))
        action = asked("meta-data/spot/instance-action", token=token)
    except OSError:  # 404 as long as there is nothing to say
        return False
    print(f"spot.py: {action}", flush=True)
    return True


def main(*program: str) -> None:
    """The program has run, because EC2 gave notice; then there is nothing left to look for."""
    look = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"
    while not (look and noticed()):
        time.sleep(LOOK_S if look else 3600)
    subprocess.run(program, check=True)
    time.sleep(3600)  # begun again, it would give notice again


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: spot.py PROGRAM…")
    main(*sys.argv[1:])
