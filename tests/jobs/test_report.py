"""The study's page: what it is about, its curves, and the pictures that were told wrong."""

import base64
import io

import pytest
from _album import SIDE, Album, small
from _drawing import Plot, rounded, svg
from _report import NAMED, SHOWN, Report, page, shown
from PIL import Image


def row(positive: str, negative: str, share: float, accuracy: float | None) -> dict[str, object]:
    named = {"task": "pairs", "positive": positive, "negative": negative, "share": share}
    figures = {"majority_baseline": 0.5, "balanced_accuracy": accuracy, "roc_auc": None, "f1": 0.5}
    return {**named, **figures, "accuracy": accuracy}


def hard(*pictures: tuple[str, str]) -> dict[str, object]:
    return {**row("cat", "dog", 0.5, 0.6), "pictures": list(pictures)}


def jpeg(size: tuple[int, int] = (300, 200)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "JPEG")
    return buffer.getvalue()


class Files:
    """Those that are there, by their paths."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def read(self, path: str) -> bytes:
        return self._contents[path]


@pytest.mark.parametrize(
    ("least", "values"),
    [
        (0.3, [1, 0.8, 0.6, 0.4]),
        (0.932, [1, 0.98, 0.96, 0.94]),
        (0.0, [1, 0.8, 0.6, 0.4, 0.2, 0]),
        (1.0, [1]),
    ],
)
def test_accuracies_are_marked_at_round_numbers(least: float, values: list[float]) -> None:
    assert rounded(least) == pytest.approx(values)


def test_the_best_is_drawn_on_top_and_the_least_at_the_bottom() -> None:
    plot = Plot(0.5)
    assert plot.y(1) < plot.y(0.75) < plot.y(0.5)
    assert plot.x(0) < plot.x(1)
    assert Plot(1.0).y(1) > 0


def test_curves_are_named_and_shares_marked() -> None:
    drawn = svg([row("cat", "<dog>", 0.1, 0.6), row("cat", "<dog>", 0.9, 0.8)])
    assert "<title>cat VS &lt;dog&gt;</title>" in drawn
    assert drawn.count("<polyline") == 3
    for share in (">0.1<", ">0.9<"):
        assert share in drawn


def test_the_page_says_what_it_is_about() -> None:
    told = page(Report([("solver", "gram & fast"), ("made by", "")], [], [], [], {}))
    assert "<dt>solver</dt><dd>gram &amp; fast</dd>" in told
    assert "made by" not in told


def test_pictures_told_wrong_are_shown_under_their_class() -> None:
    pair = hard(("cat_1.jpg", "cat"), ("dog_1.jpg", "dog"), ("dog_2.jpg", "dog"))
    copies = {"dog_1.jpg": "data:x", "cat_1.jpg": "data:y"}
    told = page(Report([], [], [], [pair], copies))
    cats, dogs = told.partition("cat VS dog")[2].split("</p>")[:2]
    assert "1 of cat told wrong" in cats
    assert '<img src="data:y" alt="cat_1.jpg"' in cats
    assert '<img src="data:x" alt="dog_1.jpg"' in dogs
    assert dogs.endswith("and 1 more")


def test_without_copies_they_are_named() -> None:
    many = [(f"cat_{number}.jpg", "cat") for number in range(NAMED + 3)]
    told = page(Report([], [], [], [hard(*many)], {}))
    assert told.count("<code>") == NAMED
    assert "and 3 more" in told
    assert "0 of dog told wrong</p>" in told
    assert len(shown(hard(*many))) == SHOWN


def test_copies_are_small_pictures_of_those_that_can_be_read() -> None:
    album = Album(Files({"in/a.jpg": jpeg(), "in/bad.jpg": b"no picture"}), "in")  # type: ignore[arg-type]
    copies = album.copies(["a.jpg", "bad.jpg", "gone.jpg"])
    assert list(copies) == ["a.jpg"]
    content = base64.b64decode(copies["a.jpg"].partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (SIDE, 64)


def test_where_nobody_knows_the_folder_there_are_no_copies() -> None:
    assert Album(Files({}), None).copies(["a.jpg"]) == {}  # type: ignore[arg-type]


def test_a_picture_that_lies_on_its_side_is_turned() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # Orientation: a quarter to the right
    buffer = io.BytesIO()
    Image.new("L", (300, 200)).save(buffer, "JPEG", exif=tags)
    content = base64.b64decode(small(buffer.getvalue()).partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (64, SIDE)
