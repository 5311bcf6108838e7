"""Pulumi's engine for the tests: the one on PATH if supported, else built once from source.

    python -m tests.engine.build

Building takes about five minutes of CPU time; the result is in emrctl's cache. The version is in
`go/go.mod`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from emrctl import paths

GO = Path(__file__).parent / "go"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3"


class EngineNotBuiltError(RuntimeError):
    """No engine is installed and none can be built."""


def version() -> str:
    """Return the version to build."""
    found = re.search(rf"{re.escape(PACKAGE)} v(\S+)", (GO / "go.mod").read_text())
    assert found is not None
    return found[1]


def ensure() -> Path:
    """Return the path of the engine; raise `EngineNotBuiltError` if it cannot be built."""
    found = shutil.which("pulumi")
    if found is not None and _fits(Path(found)):
        return Path(found)
    place = paths.cache() / "pulumi" / version() / "pulumi"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        # Concurrent test runs build it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _build(place)
    return place


def _fits(path: Path) -> bool:
    from emrctl.engine.pulumi.binary import EngineBinary

    done = subprocess.run([path, "version"], capture_output=True, text=True, check=False)
    return EngineBinary(path=path, version=done.stdout.strip().removeprefix("v")).supported


def _build(place: Path) -> None:
    if shutil.which("go") is None:
        raise EngineNotBuiltError(
            "no pulumi is on PATH, and no go to build one: put either on PATH "
            f"(pulumi {version()} or newer, or go as in {GO / 'go.mod'})"
        )
    say(f"building pulumi {version()} (about five minutes of processor time, once)")
    began, aside = time.monotonic(), place.with_name(f".pulumi-{os.getpid()}")
    flags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version()}"
    command = [
        "go",
        "build",
        "-buildvcs=false",
        "-ldflags",
        flags,
        "-o",
        str(aside),
        f"{PACKAGE}/cmd/pulumi",
    ]
    with subprocess.Popen(command, cwd=GO, stdout=sys.stderr, stderr=sys.stderr) as process:
        while process.poll() is None:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                say(f"  building for {time.monotonic() - began:.0f} s")
    if process.returncode != 0:
        raise EngineNotBuiltError(f"`{' '.join(command)}` in {GO} failed: see above")
    aside.rename(place)
    say(f"built in {time.monotonic() - began:.0f} s: {place}")


def say(line: str) -> None:
    """Print progress without buffering."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        say(f"the real engine: {ensure()}")
    except EngineNotBuiltError as missing:
        sys.exit(f"error: {missing}")
