"""What the svm job can be told."""

from __future__ import annotations

import argparse
import math
from typing import Any

import _common
from _common import JobError
from _descent import Settings

SOLVERS = ("gram", "mllib")


def shares(text: str) -> tuple[float, ...]:
    """An argparse type: training shares, rising, each once."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list like 0.1,0.2") from None
    wrong = [value for value in values if not 0 < value < 1]
    if wrong:
        raise argparse.ArgumentTypeError(f"share {wrong[0]:g} is not between 0 and 1")
    return tuple(values)


def number_above(least: float, *, itself: bool) -> Any:
    """An argparse type: a finite number above `least`, or at least that."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
        if not math.isfinite(value) or value < least or (value == least and not itself):
            bound = "at least" if itself else "above"
            raise argparse.ArgumentTypeError(f"{text} is not {bound} {least:g}")
        return value

    return number


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked as far as that goes without the data."""
    parser = _common.parser("svm", "Linear SVMs: class against class, and one against all.")
    add = parser.add_argument
    add("--features", required=True, metavar="PATH", help="Parquet or JSON features")
    add("--task", required=True, choices=("pairs", "one-vs-all", "both"))
    add("--classes", default="all", metavar="a,b,c|all", help="classes that take part")
    add("--one", metavar="NAME", help="only this class: against each other, and against all")
    add("--shares", required=True, type=shares, metavar="0.1,0.2", help="shares that train")
    add("--seed", type=int, default=0, metavar="N", help="of the splits (default: 0)")
    add("--solver", choices=SOLVERS, default="mllib")
    add("--iterations", type=_common.positive_int, default=100, metavar="N")
    add("--step", type=number_above(0, itself=False), default=1.0, metavar="X")
    add("--reg", type=number_above(0, itself=True), default=0.01, metavar="X", help="L2 weight")
    add("--keep", choices=("best", "all", "none"), default="best", help="models to write")
    add_better(parser)
    args = parser.parse_args(argv)
    alone = {
        "--class-weights": args.class_weights != "none",
        "--average": args.average,
        "--precision float32": args.precision != "float64",
    }
    for option, given in alone.items():
        if given and args.solver == "mllib":
            parser.error(f"{option}: MLlib has no such thing; --solver gram does")
    args.predictions = args.predictions or args.against is not None
    return args


def add_better(parser: argparse.ArgumentParser) -> None:
    """What may make better models than the lecture's, and what tells how good they are."""
    add = parser.add_argument
    add("--loss", choices=("hinge", "logistic"), default="hinge")
    add("--class-weights", choices=("none", "balanced"), default="none", help="gram only")
    add(
        "--scale",
        choices=("none", "rows", "columns"),
        default="none",
        help="rows: each of length 1; columns: by their deviation over the smallest share's rows",
    )
    add("--average", action="store_true", help="mean of the last half of the steps; gram only")
    add("--precision", choices=("float64", "float32"), default="float64", help="gram only")
    add("--predictions", action="store_true", help="write every model's answers too")
    add("--pictures", metavar="PATH", help="for the page (default: what the features job read)")
    add("--against", metavar="PATH", help="an earlier --output with --predictions: McNemar's test")
    add(
        "--python-memory-mb",
        type=_common.positive_int,
        metavar="MB",
        help="for the Python workers of one executor (default: what Spark's settings leave)",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Of the descent."""
    return Settings(
        iterations=args.iterations,
        step=args.step,
        reg=args.reg,
        loss=args.loss,
        balance=args.class_weights == "balanced",
        average=args.average,
        precision=args.precision,
    )


def asked(classes: str, one: str | None) -> frozenset[str]:
    """The classes named by --classes and --one; empty: all there are."""
    if classes == "all":
        return frozenset()
    names = {name.strip() for name in classes.split(",") if name.strip()}
    return frozenset({*names, *([one] if one else [])})


def chosen(known: list[str], asked: str, one: str | None) -> list[str]:
    """The classes that take part: those of --classes, with --one added, all of them known.

    Raises:
        JobError: A name is not among the data's, or fewer than two classes are left.
    """
    names = known if asked == "all" else [name.strip() for name in asked.split(",") if name.strip()]
    wanted = sorted({*names, *([one] if one else [])})
    for name in wanted:
        if name not in known:
            few = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            near = _common.nearest(name, known)
            raise JobError(f"no class '{name}' among the {len(known)} there ({few}){near}")
    if len(wanted) < 2:
        raise JobError(f"one class alone ({', '.join(wanted)}) leaves nothing to learn")
    return wanted
