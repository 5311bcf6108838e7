"""Wheels and requirements files for tests, which need no package index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, code: str, version: str = "1.0") -> Path:
    """Write a wheel with one module, for any Python."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    return path


def write_requirements(folder: Path, *lines: str) -> Path:
    """Write a requirements file that installs from the folder `wheels` beside it alone."""
    path = folder / "requirements.txt"
    path.write_text("\n".join(("--no-index", "--find-links wheels", *lines, "")))
    return path
