"""Features for the SVM benches, made from a seed: what a network's last ReLU leaves.

Two thirds of the numbers are zeros, the others long-tailed. Each class has a direction of its own,
and a row is some of that and much noise, so that classes overlap about as breeds do.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench-svm"
FILES = 4  # as the features job leaves them: one for each partition


def rows(n: int, dimension: int, classes: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Features, float32 [n, dimension], and the class of each row."""
    made = np.random.default_rng(seed)
    centres = made.standard_normal((classes, dimension)).astype(np.float32) * np.float32(0.06)
    labels = np.arange(n) % classes
    x = made.standard_normal((n, dimension), dtype=np.float32)
    x += centres[labels]
    x -= np.float32(0.45)  # a normal number is above it once in three
    np.maximum(x, 0, out=x)
    return x, [f"breed_{label:02}" for label in labels]


def parquet(n: int, dimension: int, classes: int) -> Path:
    """A folder of Parquet files as the features job writes them; made once."""
    name = f"{n}x{dimension}x{classes}-{fingerprint()}"
    folder = CACHE / name / "features"
    if (folder / "_done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = rows(n, dimension, classes)
    for part in range(FILES):
        mine = slice(part * n // FILES, (part + 1) * n // FILES)
        pq.write_table(table(x[mine], labels[mine], mine.start), folder / f"part-{part}.parquet")
    (folder / "_done").touch()
    return folder


def table(x: np.ndarray, labels: list[str], first: int) -> pa.Table:
    """path, label, features as an Arrow table."""
    ends = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
    features = pa.ListArray.from_arrays(pa.array(ends), pa.array(x.ravel()))
    paths = [path_of(label, first + row) for row, label in enumerate(labels)]
    return pa.table({"path": paths, "label": labels, "features": features})


def path_of(label: str, row: int) -> str:
    """The name of the picture that a row stands for."""
    return f"{label}_{row}.jpg"


def json_files(n: int, dimension: int, classes: int) -> Path:
    """The same rows as the lecture had them: a JSON list for each picture; made once."""
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
    """Of this file: another generator, other data."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
