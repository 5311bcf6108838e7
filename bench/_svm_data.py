"""Synthetic features for the SVM benchmarks, like those of a network's last ReLU.

Two thirds of the numbers are zeros, the others long-tailed. A row is the direction of its class
plus noise, so that classes overlap about as much as breeds do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench-svm"
FILES = 4  # the features job writes one for each partition


def rows(n: int, dimension: int, classes: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return features, float32 [n, dimension], and the class of each row."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dimension)).astype(np.float32) * np.float32(0.06)
    labels = np.arange(n) % classes
    x = rng.standard_normal((n, dimension), dtype=np.float32)
    x += centres[labels]
    x -= np.float32(0.45)  # a third of the numbers are above it
    np.maximum(x, 0, out=x)
    return x, [f"breed_{label:02}" for label in labels]


def parquet(n: int, dimension: int, classes: int) -> Path:
    """Return a folder of Parquet files like those of the features job; created once."""
    name = f"{n}x{dimension}x{classes}-{fingerprint()}"
    folder = CACHE / name / "features"
    if (folder / "_done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = rows(n, dimension, classes)
    for part in range(FILES):
        rows_of_part = slice(part * n // FILES, (part + 1) * n // FILES)
        pq.write_table(
            table(x[rows_of_part], labels[rows_of_part], rows_of_part.start),
            folder / f"part-{part}.parquet",
        )
    (folder / "_done").touch()
    return folder


def table(x: np.ndarray, labels: list[str], first: int) -> pa.Table:
    """Return an Arrow table of path, label and features."""
    offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    features = pa.ListArray.from_arrays(pa.array(offsets), pa.array(x.ravel()))
    paths = [path_of(label, first + row) for row, label in enumerate(labels)]
    return pa.table({"path": paths, "label": labels, "features": features})


def path_of(label: str, row: int) -> str:
    """Return the path of the picture of a row."""
    return f"{label}_{row}.jpg"


def json_files(n: int, dimension: int, classes: int) -> Path:
    """Return a folder with the same rows as JSON lists, one for each picture; created once."""
    folder = CACHE / f"{n}x{dimension}x{classes}-{fingerprint()}" / "json"
    if (folder.parent / "json-done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = rows(n, dimension, classes)
    for row, (values, label) in enumerate(zip(x, labels, strict=True)):
        text = "[" + ", ".join(map(repr, values.astype(float).tolist())) + "]"
        (folder / f"{path_of(label, row)}.json").write_text(text)
    (folder.parent / "json-done").touch()
    return folder


def fingerprint() -> str:
    """Return a hash of this file, which generates the data."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
