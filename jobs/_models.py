"""The study's models elsewhere: as numpy arrays, in scikit-learn, in MLlib.

    weights = read(files, "s3://bucket/study", "pug", "beagle")       # or share=0.4; None: the best
    to_sklearn(weights, "pug", "beagle").predict(features)            # a LinearSVC
    to_mllib(weights).save(sc, "s3://bucket/model")                   # an SVMModel
    pyspark.mllib.classification.SVMModel.load(sc, "s3://bucket/model")

As plain numpy, `numpy.load(".../weights.npy") @ features > 0` says the first class.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from _common import Files, JobError, join
from _descent import Array
from _learning import ALL, Group


def read(files: Files, output: str, group: Group, share: float | None = None) -> Array:
    """Weights of one model, float64 [d].

    Args:
        files: To read from any path that Hadoop knows.
        output: The svm job's --output.
        group: Which model; `Group("pairs", a, b)`, or `Group("one-vs-all", a, "all")`.
        share: Its training share; None: the best one.

    Raises:
        JobError: It was not kept.
    """
    place = [] if share is None else [f"share={share:g}"]
    path = join(output, "models", group.folder, *place, "weights.npy")
    if not files.exists(path):
        raise JobError(f"{path}: no such model; --keep says which are written")
    weights: Array = np.load(io.BytesIO(files.read(path)))
    return weights


def read_all(files: Files, output: str, task: str) -> list[tuple[Group, Array]]:
    """The best models of one task (`pairs` or `one-vs-all`), in the order of their folders."""
    found = []
    for name, _ in sorted(files.listed(join(output, "models"))):
        if name.endswith("/meta.json"):
            meta = json.loads(files.read(name))
            if meta["task"] == task:
                group = Group(task, meta["positive"], meta["negative"])
                weights = np.load(io.BytesIO(files.read(name[: -len("meta.json")] + "weights.npy")))
                found.append((group, weights))
    return found


def to_sklearn(weights: Array, positive: str, negative: str = ALL) -> Any:
    """A scikit-learn LinearSVC that says `positive` where the margin is above 0."""
    from sklearn.svm import LinearSVC

    # scikit-learn wants its classes in order; a positive margin says the second of them.
    classes = np.array([negative, positive])
    sign = 1.0
    if positive < negative:
        classes, sign = classes[::-1], -1.0
    model = LinearSVC(fit_intercept=False)
    model.classes_ = classes
    model.coef_ = sign * weights[None]
    model.intercept_ = np.zeros(1)
    model.n_features_in_ = len(weights)
    return model


def to_mllib(weights: Array, loss: str = "hinge") -> Any:
    """MLlib's SVMModel, or its LogisticRegressionModel; both can be saved and loaded by Spark."""
    from pyspark.mllib.classification import LogisticRegressionModel, SVMModel
    from pyspark.mllib.linalg import DenseVector

    if loss == "hinge":
        return SVMModel(DenseVector(weights), 0.0)
    return LogisticRegressionModel(DenseVector(weights), 0.0, len(weights), 2)
