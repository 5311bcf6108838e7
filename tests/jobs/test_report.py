"""The report of a study: description, curves and misclassified pictures."""

import base64
import io
from typing import Any

from PIL import Image

from svm.report import (
    NAMED,
    SHOWN,
    THUMBNAIL,
    StudyReport,
    curves_svg,
    page,
    shown_pictures,
    thumbnail,
    thumbnails,
)


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


class FakeFiles:
    """Files in memory, by path."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    def read(self, path: str) -> bytes:
        return self._contents[path]


def test_curves_svg_names_curves_and_shares() -> None:
    drawn = curves_svg([row("cat", "<dog>", 0.1, 0.6), row("cat", "<dog>", 0.9, 0.8)])
    assert "<title>cat VS &lt;dog&gt;</title>" in drawn
    assert drawn.count("<title>") == 3
    assert "http" not in drawn
    for share in (">0.1<", ">0.9<"):
        assert share in drawn


def test_page_describes_the_study() -> None:
    html = page(StudyReport([("solver", "gram & fast"), ("extractor", "")], [], [], [], {}))
    assert "<dt>solver</dt><dd>gram &amp; fast</dd>" in html
    assert "extractor" not in html


def test_page_shows_misclassified_pictures_by_class() -> None:
    pair = hard(("cat_1.jpg", "cat"), ("dog_1.jpg", "dog"), ("dog_2.jpg", "dog"))
    images = {"dog_1.jpg": "data:x", "cat_1.jpg": "data:y"}
    html = page(StudyReport([], [], [], [pair], images))
    cats, dogs = html.partition("cat VS dog")[2].split("</p>")[:2]
    assert "1 of cat misclassified" in cats
    assert '<img src="data:y" alt="cat_1.jpg"' in cats
    assert '<img src="data:x" alt="dog_1.jpg"' in dogs
    assert dogs.endswith("and 1 more")


def test_page_names_pictures_without_thumbnail() -> None:
    many = [(f"cat_{number}.jpg", "cat") for number in range(NAMED + 3)]
    html = page(StudyReport([], [], [], [hard(*many)], {}))
    assert html.count("<code>") == NAMED
    assert "and 3 more" in html
    assert "0 of dog misclassified</p>" in html
    assert len(shown_pictures([hard(*many)])) == SHOWN


def test_thumbnails_of_readable_pictures() -> None:
    files: Any = FakeFiles({"in/a.jpg": jpeg(), "in/bad.jpg": b"no picture"})
    images = thumbnails(files, "in", ["a.jpg", "bad.jpg", "gone.jpg"])
    assert list(images) == ["a.jpg"]
    content = base64.b64decode(images["a.jpg"].partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (THUMBNAIL, 64)


def test_thumbnails_without_folder_are_empty() -> None:
    files: Any = FakeFiles({})
    assert thumbnails(files, None, ["a.jpg"]) == {}


def test_thumbnail_applies_the_orientation() -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # Orientation: rotated by 90 degrees
    buffer = io.BytesIO()
    Image.new("L", (300, 200)).save(buffer, "JPEG", exif=tags)
    content = base64.b64decode(thumbnail(buffer.getvalue()).partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (64, THUMBNAIL)
