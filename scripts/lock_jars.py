"""Update the checksums in jars.lock: download its JARs from Maven Central and rewrite the file.

    python -m scripts.lock_jars

To change a version, edit its line and run this script; the diff shows which checksums changed.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from emrctl.emulator.hadoop import hadoop_jars

_HEAD = "# set organisation name revision sha256; written by: python -m scripts.lock_jars\n"


def main() -> None:
    """Rewrite jars.lock with the checksum of each JAR."""
    jars = hadoop_jars.locked_jars()
    with tempfile.TemporaryDirectory() as folder:
        hadoop_jars.download(jars, Path(folder), lambda line: print(line, file=sys.stderr))
        lines = [_line(jar, Path(folder)) for jar in jars]
    hadoop_jars.LOCK_FILE.write_text(_HEAD + "".join(lines), encoding="utf-8")


def _line(jar: hadoop_jars.LockedJar, folder: Path) -> str:
    content = (folder / "jars" / jar.set / jar.file).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{jar.set} {jar.organisation} {jar.name} {jar.revision} {digest}\n"


if __name__ == "__main__":
    main()
