"""Write a software bill of materials in CycloneDX 1.5: `python -m scripts.sbom [FILE]`.

The Python packages are those of uv.lock with the extras of an installation, without the tools of
development; the JARs are those of jars.lock, which the emulator downloads. All have checksums.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from emrctl.emulator.hadoop import hadoop_jars

_ROOT = Path(__file__).resolve().parents[1]
_UV = Path(sys.executable).with_name("uv")
_EXTRAS = ("local", "analysis", "jobs")


def bill() -> dict[str, Any]:
    """Return the bill of materials."""
    extras = [word for name in _EXTRAS for word in ("--extra", name)]
    command = [str(_UV), "export", "--quiet", "--frozen", "--no-dev", "--format", "cyclonedx1.5"]
    done = subprocess.run(
        [*command, *extras], cwd=_ROOT, check=True, capture_output=True, text=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    document["components"] += [_jar(jar) for jar in hadoop_jars.locked_jars()]
    return document


def _jar(jar: hadoop_jars.LockedJar) -> dict[str, Any]:
    purl = f"pkg:maven/{jar.organisation}/{jar.name}@{jar.revision}"
    return {
        "type": "library",
        "bom-ref": f"{purl}#{jar.set}",
        "group": jar.organisation,
        "name": jar.name,
        "version": jar.revision,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": jar.sha256}],
    }


def main() -> None:
    """Write the bill to the file, or to stdout."""
    text = json.dumps(bill(), indent=1) + "\n"
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
