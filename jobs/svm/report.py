"""The report of a study: report.html, which needs no other file, and its plots."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Any, NamedTuple

import numpy as np

from common.files import WRITERS, HadoopFiles, join
from svm.dataset import ClassPair, TrainingTask, TrainTestSplits
from svm.scores import Row, TrainedModel, mean

HARDEST = 12
SHOWN, NAMED = 8, 12  # misclassified pictures of one class: as thumbnails, or by name
THUMBNAIL = 96  # maximum side in px
NAMED_CURVES = 12  # more curves than this have no legend
STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#1b1f24;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .6rem;text-align:right}
th{font-weight:600;border-bottom:1px solid #999}td:first-child,th:first-child{text-align:left}
.heat td{padding:0;width:1.1rem;height:1.1rem;border:1px solid #fff}
.heat th{font-weight:400;font-size:.7rem;border:0;padding:0 .3rem}
.heat .turned{writing-mode:vertical-rl;transform:rotate(180deg)}
code{font-size:.85rem}svg{max-width:100%;height:auto;display:block}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dd{margin:0}dt{color:#555}
p img{height:64px;margin:0 .3rem .3rem 0;vertical-align:middle}
.curve:hover path{stroke:#c2410c!important;stroke-opacity:1!important;stroke-width:3!important}
"""


class StudyReport(NamedTuple):
    """Content of the report."""

    about: list[tuple[str, str]]  # names and values that describe the study
    rows: list[Row]  # rows of accuracies.parquet
    multiclass: list[Row]  # rows of multiclass.parquet
    hardest: list[Row]  # rows of `HardestPairs`
    thumbnails: Mapping[str, str]  # data: URLs of pictures by path


class HardestPairs:
    """The pairs whose best model has the lowest accuracy, and their misclassified pictures."""

    def __init__(self, splits: TrainTestSplits) -> None:
        self._splits = splits
        self._pairs: list[tuple[float, str, Row, bytes]] = []

    def add(self, task: TrainingTask, models: Sequence[TrainedModel], best: Row) -> None:
        """Add a pair with the row of its best model. Only the hardest pairs are kept."""
        if task.pair.task != "pairs":
            return
        predictions = models[task.shares.index(best["share"])].scores.predictions
        self._pairs.append((best["accuracy"], str(task.pair), dict(best), predictions))
        self._pairs = sorted(self._pairs, key=lambda item: item[:2])[:HARDEST]

    def rows(self) -> list[Row]:
        """Return rows of accuracies with `pictures`: (path, label) of misclassified test rows."""
        return [{**row, "pictures": self._errors(row, bits)} for _, _, row, bits in self._pairs]

    def _errors(self, row: Row, predictions: bytes) -> list[tuple[str, str]]:
        pair = ClassPair(row["task"], row["positive"], row["negative"])
        rows = self._splits.pair_rows(pair)
        bits = np.unpackbits(np.frombuffer(predictions, dtype=np.uint8), count=len(rows))
        return [
            (path, label)
            for (path, label, u), positive in zip(rows, bits.astype(bool))
            if u >= row["share"] and positive != (label == row["positive"])
        ]


def errors_by_class(row: Row) -> list[tuple[str, list[str]]]:
    """Return each class of a hardest pair with its misclassified pictures."""
    return [
        (label, [path for path, actual in row["pictures"] if actual == label])
        for label in (row["positive"], row["negative"])
    ]


def shown_pictures(rows: Iterable[Row]) -> list[str]:
    """Return the pictures of the hardest pairs that the page shows."""
    return [path for row in rows for _, paths in errors_by_class(row) for path in paths[:SHOWN]]


# ---- thumbnails ----------------------------------------------------------------------------------


def thumbnails(files: HadoopFiles, folder: str | None, paths: Sequence[str]) -> dict[str, str]:
    """Return thumbnails of the pictures that can be read, as data: URLs by path.

    Empty if the folder is unknown, Pillow is not installed, or the pictures are in an archive.
    """
    if folder is None or not importlib.util.find_spec("PIL"):
        return {}

    def read(path: str) -> str | None:
        try:
            return thumbnail(files.read(join(folder, path)))
        except Exception:  # noqa: BLE001 - of Hadoop, py4j or Pillow; the page has no thumbnail
            return None

    with ThreadPoolExecutor(WRITERS) as pool:
        return {path: url for path, url in zip(paths, pool.map(read, paths)) if url}


def thumbnail(content: bytes) -> str:
    """Return a picture as a small JPEG in a data: URL."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as picture:
        picture.draft("RGB", (THUMBNAIL, THUMBNAIL))
        small = ImageOps.exif_transpose(picture).convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- plots ---------------------------------------------------------------------------------------


def can_plot() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def curves_png(rows: Sequence[Row]) -> bytes:
    """Return the curves of all tasks as PNG."""
    return save(curves(rows), "png")


def curves_svg(rows: Sequence[Row]) -> str:
    """Return the curves as SVG for a page; the name of a pair is shown when pointed at."""
    text = save(curves(rows), "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:xlink)?="[^"]*"|<metadata>.*?</metadata>', "", text, flags=re.DOTALL)
    return re.sub(r'<g id="curve ([^"]*)">', r'<g class="curve"><title>\1</title>', text)


def curves(rows: Sequence[Row]) -> Any:
    """Draw accuracy against training share: a panel for each task, with means and baseline."""
    # Without pyplot, which keeps global state and may need a display.
    from matplotlib.figure import Figure

    tasks = sorted({row["task"] for row in rows})
    figure = Figure(figsize=(7 * max(len(tasks), 1), 5), layout="constrained")
    for panel, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), panel + 1)
        draw_curves(axes, [row for row in rows if row["task"] == task])
        axes.set(title=task, xlabel="training share", ylabel="test accuracy")
    return figure


def draw_curves(axes: Any, rows: Sequence[Row]) -> None:
    """Draw a curve for each pair, and the means of all tested rows."""
    points: dict[str, list[Row]] = {}
    tested = [row for row in rows if row["accuracy"] is not None]
    for row in tested:
        points.setdefault(f"{row['positive']} VS {row['negative']}", []).append(row)
    named = len(points) <= NAMED_CURVES
    for name, own in points.items():
        style: dict[str, Any] = {"color": "C0", "alpha": 0.15}
        if named:
            style = {"marker": "o", "markersize": 4, "label": name}
        shares, values = ([row[column] for row in own] for column in ("share", "accuracy"))
        axes.plot(shares, values, gid=f"curve {name}", **style)
    for column, line in (("accuracy", "k-"), ("majority_baseline", "k--")):
        name = f"mean {column.replace('_', ' ')}"
        axes.plot(*means_by_share(tested, column), line, lw=2, label=name, gid=f"curve {name}")
    shares = sorted({row["share"] for row in tested})
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)


def means_by_share(rows: Iterable[Row], column: str) -> tuple[list[float], list[float]]:
    """Return the shares, and the mean of a column at each."""
    values: dict[float, list[float]] = {}
    for row in rows:
        values.setdefault(row["share"], []).append(row[column])
    shares = sorted(values)
    return shares, [sum(values[share]) / len(values[share]) for share in shares]


def save(figure: Any, file_format: str) -> bytes:
    """Return a figure as PNG or SVG."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):  # text as text, not as paths
        figure.savefig(buffer, format=file_format, dpi=120)
    return buffer.getvalue()


class PairAccuracies(NamedTuple):
    """Accuracy of each pair at one share, as a symmetric matrix; None where there is no pair."""

    share: float
    classes: list[str]
    cells: list[list[float | None]]
    least: float

    @classmethod
    def of(cls, rows: Iterable[Row]) -> PairAccuracies | None:
        """Return the accuracies at the share of highest mean; None if no pair was tested."""
        tested = [row for row in rows if row["task"] == "pairs" and row["accuracy"] is not None]
        if not tested:
            return None
        shares, accuracy = means_by_share(tested, "accuracy")
        share = shares[int(np.argmax(accuracy))]
        values: dict[tuple[str, str], float] = {}
        for row in tested:
            if row["share"] == share:
                values[row["positive"], row["negative"]] = row["accuracy"]
                values[row["negative"], row["positive"]] = row["accuracy"]
        classes = sorted({name for pair in values for name in pair})
        cells = [[values.get((one, other)) for other in classes] for one in classes]
        return cls(share, classes, cells, min(values.values()))


def heatmap_png(accuracies: PairAccuracies) -> bytes:
    """Return the accuracy of each pair as PNG; dark is hard."""
    from matplotlib.figure import Figure

    classes = accuracies.classes
    size = max(4.0, 0.28 * len(classes) + 2.5)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.add_subplot()
    values = [[np.nan if cell is None else cell for cell in line] for line in accuracies.cells]
    image = axes.imshow(values, cmap="viridis", vmin=accuracies.least, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
    axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_title(f"accuracy of each pair, share={accuracies.share:g}")
    figure.colorbar(image, ax=axes, shrink=0.7)
    return save(figure, "png")


# ---- the page ------------------------------------------------------------------------------------


def page(study: StudyReport) -> str:
    """Return the page as HTML."""
    tasks = sorted({row["task"] for row in study.rows})
    parts = [task_section(task, [r for r in study.rows if r["task"] == task]) for task in tasks]
    parts.append(multiclass_section(study.multiclass))
    parts.append(heatmap_section(PairAccuracies.of(study.rows)))
    parts.append(hardest_section(study.hardest, study.thumbnails))
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in study.about if value
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>SVM study</title>'
        f"<style>{STYLE}</style><h1>SVM study</h1><dl>{facts}</dl>{''.join(parts)}</html>\n"
    )


def task_section(task: str, rows: list[Row]) -> str:
    """Return curves and means by share of one task."""
    tested = [row for row in rows if row["accuracy"] is not None]
    heading = f"<h2>{escape(task)}: {len(rows)} models</h2>"
    if not tested:
        return heading + "<p>No test rows.</p>"
    names = ("accuracy", "majority_baseline", "balanced_accuracy", "roc_auc", "f1")
    lines = []
    for share in sorted({row["share"] for row in tested}):
        own = [row for row in tested if row["share"] == share]
        lines.append([f"{share:g}", len(own), *(mean(own, name) for name in names)])
    columns = ["share", "models", *(f"mean {name.replace('_', ' ')}" for name in names)]
    plot = curves_svg(tested) if can_plot() else "<p>Curves need matplotlib on the driver.</p>"
    return heading + plot + html_table(columns, lines)


def html_table(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Return a table; floats with four decimals, None as a dash."""

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else escape(str(value))

    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(value)}</td>" for value in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def multiclass_section(rows: list[Row]) -> str:
    """Return the results among all classes, by both methods."""
    if not rows:
        return ""
    names = ["method", "share", "n_test", "accuracy", "balanced_accuracy", "macro_f1"]
    names.append("majority_baseline")
    lines = [[row[name] for name in names] for row in rows]
    columns = [name.replace("_", " ") for name in names]
    return "<h2>Accuracy among all classes</h2>" + html_table(columns, lines)


def heatmap_section(accuracies: PairAccuracies | None) -> str:
    """Return a heat map of all pairs; the accuracy is shown when pointed at."""
    if accuracies is None:
        return ""
    lines = []
    for one, values in zip(accuracies.classes, accuracies.cells):
        cells = "".join(
            heatmap_cell(f"{one} VS {other}", value, accuracies.least)
            for other, value in zip(accuracies.classes, values)
        )
        lines.append(f"<tr><th>{escape(one)}</th>{cells}</tr>")
    names = "".join(f'<th class="turned">{escape(name)}</th>' for name in accuracies.classes)
    legend = f"share={accuracies.share:g}; dark is {accuracies.least:.4f}, light is 1"
    return (
        f"<h2>Accuracy of each pair</h2><p>{legend}</p>"
        f'<table class="heat">{"".join(lines)}<tr><td></td>{names}</tr></table>'
    )


def heatmap_cell(title: str, value: float | None, least: float) -> str:
    """Return one cell of the heat map."""
    if value is None:
        return "<td></td>"
    light = 25 + 70 * (value - least) / max(1 - least, 1e-9)
    colour = f"background:hsl(212 60% {light:.0f}%)"
    return f'<td title="{escape(title)}: {value:.4f}" style="{colour}"></td>'


def hardest_section(rows: list[Row], images: Mapping[str, str]) -> str:
    """Return the hardest pairs and their misclassified pictures."""
    if not rows:
        return ""
    parts = []
    for row in rows:
        pair = f"{escape(row['positive'])} VS {escape(row['negative'])}"
        baseline = f"majority {row['majority_baseline']:.4f}"
        parts.append(
            f"<h3>{pair}: {row['accuracy']:.4f} at share {row['share']:g}, {baseline}</h3>"
        )
        parts += [misclassified(label, paths, images) for label, paths in errors_by_class(row)]
    return f"<h2>The hardest pairs, each at its best share</h2>{''.join(parts)}"


def misclassified(label: str, paths: Sequence[str], images: Mapping[str, str]) -> str:
    """Return the misclassified pictures of a class, as thumbnails or by name."""
    shown = [path for path in paths[:SHOWN] if path in images]
    pictures = "".join(
        f'<img src="{escape(images[path])}" alt="{escape(path)}" title="{escape(path)}">'
        for path in shown
    )
    named = [] if shown else paths[:NAMED]
    names = ", ".join(f"<code>{escape(name)}</code>" for name in named)
    more = len(paths) - len(shown or named)
    heading = f"{len(paths)} of {escape(label)} misclassified" + (": " if paths else "")
    return f"<p>{heading}{names}{pictures}{f' and {more} more' if more else ''}</p>"
