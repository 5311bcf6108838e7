"""`emrctl data`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from emrctl.aws.target import Target

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bucket(typed: Typed) -> None:
    assert typed("init", "--project", "pets")[0] == 0
    assert typed("up")[0] == 0


@pytest.mark.usefixtures("bucket")
def test_data_pets_local_archive_is_uploaded_once(
    typed: Typed, tmp_path: Path, mocked: Target
) -> None:
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        for name in ("Abyssinian_1.jpg", "pug_7.jpg", "pug_8.jpg"):
            entry = tarfile.TarInfo(f"images/{name}")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"x"))
    code, out, err = typed("data", "pets", "images.tar.gz", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["classes"], found["sent"]) == ({"Abyssinian": 1, "pug": 2}, 3)
    listed = mocked.client("s3").list_objects_v2(
        Bucket=found["uri"].split("/")[2], Prefix="data/pets/"
    )
    assert len(listed["Contents"]) == 3
    assert json.loads(typed("data", "pets", "images.tar.gz", "--json")[1])["sent"] == 0


@pytest.mark.usefixtures("bucket")
def test_data_pets_without_confirmation_downloads_nothing(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path / "cache"))
    code, _, err = typed("data", "pets")
    assert code == 2
    assert "792 MB" in err or "791 MB" in err
    assert "--yes" in err
