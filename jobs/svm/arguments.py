"""Arguments of the svm job."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from common.job import (
    JobError,
    argument_parser,
    nearest,
    not_negative,
    positive,
    positive_int,
)
from svm.gradient_descent import DescentSettings


def shares(text: str) -> tuple[float, ...]:
    """Parse training shares into ascending distinct values (an argparse type)."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list like 0.1,0.2") from None
    invalid = [value for value in values if not 0 < value < 1]
    if invalid:
        raise argparse.ArgumentTypeError(f"share {invalid[0]:g} is not between 0 and 1")
    return tuple(values)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the arguments, and check them as far as possible without the data."""
    parser = argument_parser("svm", "Train linear SVMs: class pairs, and one class against all.")
    add = parser.add_argument
    add("--features", required=True, metavar="PATH", help="Parquet or JSON features")
    add(
        "--task",
        required=True,
        choices=("pairs", "one-vs-all", "both"),
        help="models to train: each pair of classes, each class against all others, or both",
    )
    add("--classes", default="all", metavar="a,b,c|all", help="classes to use (default: all)")
    add("--one", metavar="NAME", help="train only the models of this class")
    add("--shares", required=True, type=shares, metavar="0.1,0.2", help="training shares")
    add("--seed", type=int, default=0, metavar="N", help="seed of the splits (default: 0)")
    add("--solver", choices=("gram", "mllib"), default="mllib", help="default: mllib")
    add(
        "--iterations",
        type=positive_int,
        default=100,
        metavar="N",
        help="maximum number of gradient steps (default: 100)",
    )
    add(
        "--step",
        type=positive,
        default=1.0,
        metavar="X",
        help="size of the first step (default: 1.0)",
    )
    add(
        "--reg",
        type=not_negative,
        default=0.01,
        metavar="X",
        help="L2 regularization (default: 0.01)",
    )
    add(
        "--keep",
        choices=("best", "all", "none"),
        default="best",
        help="models to write (default: best)",
    )
    add_extensions(parser)
    args = parser.parse_args(argv)
    gram_only = {
        "--class-weights": args.class_weights != "none",
        "--average": args.average,
        "--precision float32": args.precision != "float64",
    }
    for option, used in gram_only.items():
        if used and args.solver == "mllib":
            parser.error(f"{option}: not supported by MLlib; use --solver gram")
    args.predictions = args.predictions or args.against is not None
    return args


def add_extensions(parser: argparse.ArgumentParser) -> None:
    """Add arguments beyond MLlib's SVM, and arguments of the evaluation."""
    add = parser.add_argument
    add("--loss", choices=("hinge", "logistic"), default="hinge", help="default: hinge")
    add(
        "--class-weights",
        choices=("none", "balanced"),
        default="none",
        help="balanced: both classes have the same total weight; gram only",
    )
    add(
        "--scale",
        choices=("none", "rows", "columns"),
        default="none",
        help="rows: to length 1; columns: by their standard deviation in the smallest share",
    )
    add("--average", action="store_true", help="average the last half of the iterates; gram only")
    add(
        "--precision",
        choices=("float64", "float32"),
        default="float64",
        help="precision of the solver (default: float64); gram only",
    )
    add("--predictions", action="store_true", help="write the predictions of every model")
    add("--pictures", metavar="PATH", help="pictures for the report (default: the features' input)")
    add(
        "--against",
        metavar="PATH",
        help="--output of an earlier run with --predictions, to compare with by McNemar's test",
    )
    add(
        "--python-memory-mb",
        type=positive_int,
        metavar="MB",
        help="memory for the Python workers of an executor (default: from Spark's settings)",
    )


def descent_settings(args: argparse.Namespace) -> DescentSettings:
    """Return the settings of the gradient descent."""
    return DescentSettings(
        iterations=args.iterations,
        step=args.step,
        reg=args.reg,
        loss=args.loss,
        balance=args.class_weights == "balanced",
        average=args.average,
        precision=args.precision,
    )


def requested_classes(classes: str, one: str | None) -> frozenset[str]:
    """Return the classes named by --classes and --one; empty means all."""
    if classes == "all":
        return frozenset()
    names = {name.strip() for name in classes.split(",") if name.strip()}
    return frozenset({*names, *([one] if one else [])})


def select_classes(available: Sequence[str], classes: str, one: str | None) -> list[str]:
    """Return the sorted classes to use: those of --classes (or all), and --one.

    Raises:
        JobError: A class does not exist, or there is only one class.
    """
    names = {*requested_classes(classes, one)}
    if classes == "all":
        names = {*available, *([one] if one else [])}
    for name in sorted(names):
        if name not in available:
            some = ", ".join(available[:10]) + (", …" if len(available) > 10 else "")
            hint = nearest(name, available)
            raise JobError(f"no class '{name}' among the {len(available)} there ({some}){hint}")
    if len(names) < 2:
        raise JobError(f"one class alone ({', '.join(names)}): at least two are needed")
    return sorted(names)
