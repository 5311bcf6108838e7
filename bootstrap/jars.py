#!/usr/bin/env python3
"""Install the JARs of S3A for one version of Hadoop, verified against the SHA-256 in s3a.lock.

    jars.py [--check] HADOOP_VERSION FOLDER [SOURCE…]

--check: exit with 0 if FOLDER has all of them; install nothing.
SOURCE: folders from which JARs are copied if they have them. Others are downloaded from Maven
Central, or from the mirror in EMRCTL_MAVEN_MIRROR. A second run downloads nothing.
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
ATTEMPTS, PAUSE_S, TIMEOUT_S = 3, 2.0, 60


class S3aJar(NamedTuple):
    """A line of s3a.lock: the JAR's checksum, and its path in a Maven repository."""

    sha256: str
    path: str

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rsplit("/", 1)[-1]


def read_lock(version: str) -> list[S3aJar]:
    """Return the JARs for a version of Hadoop; exit if s3a.lock has none."""
    text = Path(__file__).with_name("s3a.lock").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    jars = [S3aJar(sha256, path) for hadoop, sha256, path in lines if hadoop == version]
    if not jars:
        versions = ", ".join(sorted({line[0] for line in lines}))
        sys.exit(f"jars.py: error: no S3A for Hadoop {version}; available for Hadoop {versions}")
    return jars


def matches(path: Path, jar: S3aJar) -> bool:
    """Return whether the file exists and has the JAR's checksum."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        digest = hashlib.sha256()
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest() == jar.sha256


def install(jar: S3aJar, folder: Path, sources: list[Path]) -> str:
    """Copy or download the JAR into the folder; return its source."""
    target = folder / jar.name
    if matches(target, jar):
        return "already installed"
    temporary = target.with_suffix(".part")
    for source in sources:
        if matches(source / jar.name, jar):
            shutil.copyfile(source / jar.name, temporary)
            temporary.replace(target)
            return str(source)
    repository = os.environ.get("EMRCTL_MAVEN_MIRROR", CENTRAL).rstrip("/")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            download(f"{repository}/{jar.path}", temporary)
            break
        except OSError as error:
            if attempt == ATTEMPTS or getattr(error, "errno", None) == 28:  # the disk is full
                sys.exit(f"jars.py: error: cannot download {jar.name} from {repository}: {error}")
            time.sleep(PAUSE_S * attempt)
    if not matches(temporary, jar):
        temporary.unlink()
        sys.exit(f"jars.py: error: {jar.name} from {repository} does not match its checksum")
    temporary.replace(target)
    return repository


def download(url: str, path: Path) -> None:
    """Download a URL to a file."""
    if not url.startswith(("https://", "http://")):
        sys.exit(f"jars.py: error: {url} is not an HTTP URL")
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:  # noqa: S310 - checked just above
        shutil.copyfileobj(response, file)


def main(version: str, folder: str, *sources: str) -> None:
    """Install the JARs into the folder and delete all other files in it."""
    jars, target = read_lock(version), Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        used = pool.map(lambda jar: install(jar, target, [Path(one) for one in sources]), jars)
        for jar, source in zip(jars, used):
            print(f"jars.py: {jar.name}: {source}", flush=True)
    for other in set(target.iterdir()) - {target / jar.name for jar in jars}:
        other.unlink()  # JARs of another version would conflict on the class path


if __name__ == "__main__":
    arguments = [item for item in sys.argv[1:] if item != "--check"]
    if len(arguments) < 2:
        sys.exit("usage: jars.py [--check] HADOOP_VERSION FOLDER [SOURCE…]")
    if "--check" in sys.argv:
        jars_folder = Path(arguments[1])
        sys.exit(not all(matches(jars_folder / jar.name, jar) for jar in read_lock(arguments[0])))
    main(*arguments)
