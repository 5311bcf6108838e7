#!/usr/bin/env python3
"""S3A's jars for one version of Hadoop, each with the SHA-256 that s3a.lock has for it.

    jars.py [--check] HADOOP_VERSION FOLDER [PLACE…]

--check: say by the exit code whether they lie in FOLDER already, and fetch nothing.
PLACE: folders where they may lie already. What lies nowhere comes from Maven Central, or from the
mirror that EMRCTL_MAVEN_MIRROR names. Run twice, it fetches nothing the second time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CENTRAL = "https://repo1.maven.org/maven2"
TRIES, PAUSE_S, TIMEOUT_S = 3, 2.0, 60


class Jar(NamedTuple):
    """A line of the lock: the file's checksum, and its path below Maven Central's root."""

    sha256: str
    path: str

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.path.rsplit("/", 1)[-1]


def locked(version: str) -> list[Jar]:
    """The jars for that version of Hadoop; SystemExit names the versions that there are."""
    text = Path(__file__).with_name("s3a.lock").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    found = [Jar(sha, path) for hadoop, sha, path in lines if hadoop == version]
    if not found:
        known = ", ".join(sorted({line[0] for line in lines}))
        sys.exit(f"jars.py: error: S3A is known for Hadoop {known}, not for {version}")
    return found


def right(path: Path, jar: Jar) -> bool:
    """Whether the file is the one that the lock means."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.sha256()
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest() == jar.sha256


def put(jar: Jar, folder: Path, places: list[Path]) -> str:
    """The jar lies in the folder; where it came from."""
    target = folder / jar.name
    if right(target, jar):
        return "there already"
    aside = target.with_suffix(".part")
    for place in places:
        if right(place / jar.name, jar):
            shutil.copyfile(place / jar.name, aside)
            aside.replace(target)
            return str(place)
    return fetched(jar, aside, target)


def fetched(jar: Jar, aside: Path, target: Path) -> str:
    """The jar has come from Maven Central; SystemExit says what did not go well."""
    root = os.environ.get("EMRCTL_MAVEN_MIRROR", CENTRAL).rstrip("/")
    for attempt in range(1, TRIES + 1):
        try:
            download(f"{root}/{jar.path}", aside)
            break
        except OSError as error:
            if attempt == TRIES or getattr(error, "errno", None) == 28:  # the disk is full
                sys.exit(f"jars.py: error: {jar.name} could not be fetched from {root}: {error}")
            time.sleep(PAUSE_S * attempt)
    if not right(aside, jar):
        aside.unlink()
        sys.exit(f"jars.py: error: {jar.name} from {root} has another checksum than it should")
    aside.replace(target)
    return root


def download(url: str, aside: Path) -> None:
    """The file at that address lies aside."""
    if not url.startswith(("https://", "http://")):
        sys.exit(f"jars.py: error: {url} is no web address")
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, aside.open("wb") as file:  # noqa: S310 - checked just above
        shutil.copyfileobj(answer, file)


def main(version: str, folder: str, *places: str) -> None:
    """Every jar lies in the folder, and nothing else does."""
    jars, target = locked(version), Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        came = pool.map(lambda jar: put(jar, target, [Path(one) for one in places]), jars)
        for jar, source in zip(jars, came):
            print(f"jars.py: {jar.name}: {source}", flush=True)
    for old in set(target.iterdir()) - {target / jar.name for jar in jars}:
        old.unlink()  # another version's: two on one class path are worse than none


if __name__ == "__main__":
    given = [item for item in sys.argv[1:] if item != "--check"]
    if len(given) < 2:
        sys.exit("usage: jars.py [--check] HADOOP_VERSION FOLDER [PLACE…]")
    if "--check" in sys.argv:
        sys.exit(not all(right(Path(given[1]) / jar.name, jar) for jar in locked(given[0])))
    main(*given)
