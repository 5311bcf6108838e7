"""Fitted scikit-learn models: stored with joblib, and fitted with one thread for each task."""

from __future__ import annotations

import io
from typing import Any

from common.files import HadoopFiles


def dump(files: HadoopFiles, path: str, model: Any) -> None:
    """Write a model, or a list of models, to a file."""
    import joblib

    content = io.BytesIO()
    joblib.dump(model, content)
    files.write(path, content.getvalue())


def load(files: HadoopFiles, path: str) -> Any:
    """Read what `dump` wrote; it runs code of the file, so the file must be trusted."""
    import joblib

    return joblib.load(io.BytesIO(files.read(path)))


def one_thread() -> Any:
    """Return a context in which numpy and scikit-learn use one thread: a task has one core."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)
