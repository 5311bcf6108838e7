"""Reading and uploading pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from emrctl.aws.target import Target
from emrctl.datasets import pictures
from emrctl.errors import UsageError


@pytest.fixture
def target(mocked: Target) -> Target:
    mocked.client("s3").create_bucket(Bucket="pets")
    return mocked


def test_digits_are_png_images() -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    found = pictures.digits()
    assert len(found) == 1797
    assert len({picture.name for picture in found}) == 1797
    image = Image.open(io.BytesIO(found[0].read()))
    assert image.size == (8, 8)
    pixels = load_digits().images[0]
    assert abs(image.getpixel((2, 0)) / 255 * 16 - pixels[0][2]) < 0.5  # type: ignore[operator]


def test_digits_limit_per_class() -> None:
    found = pictures.digits(per_class=3)
    assert sorted(picture.name for picture in found if picture.label == "7") == [
        "7_000.png",
        "7_001.png",
        "7_002.png",
    ]
    assert len(found) == 30


def test_folder_reads_classes_from_names_and_folders(tmp_path: Path) -> None:
    for name in ("basset_hound_12.jpg", "pug/x.PNG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {picture.name: picture.label for picture in pictures.folder(tmp_path)}
    assert found == {"basset_hound_12.jpg": "basset_hound", "pug/x.PNG": "pug"}


def test_folder_picture_without_class_raises(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"holiday\.jpg: no class"):
        pictures.folder(tmp_path)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_folder_without_pictures_raises(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"not a folder|has no pictures"):
        pictures.folder(tmp_path / name)


def test_upload_sends_missing_and_changed_pictures(target: Target) -> None:
    digits = pictures.digits(per_class=2)
    seen: list[int] = []
    first = pictures.upload(target, "pets", "digits", digits, seen.append)
    assert (first.uri, first.sent, len(first.classes)) == ("s3://pets/data/digits/", 20, 10)
    assert seen == list(range(1, 21))
    target.client("s3").delete_object(Bucket="pets", Key="data/digits/0_000.png")
    target.client("s3").put_object(Bucket="pets", Key="data/digits/0_001.png", Body=b"other")
    assert pictures.upload(target, "pets", "digits", digits, seen.append).sent == 2


def test_check_name_rejects_paths() -> None:
    assert pictures.check_name("digits-2") == "digits-2"
    with pytest.raises(UsageError, match="invalid data set name"):
        pictures.check_name("../x")
