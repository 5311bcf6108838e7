"""Pictures: digits, folders, uploads; the pets from an archive or a server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emrctl import datasets
from emrctl.aws.target import Target
from emrctl.errors import EmrctlError, NotFoundError, UsageError


@pytest.fixture
def target(mocked: Target) -> Target:
    mocked.client("s3").create_bucket(Bucket="pets")
    return mocked


def test_digits_are_png_images() -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    found = datasets.digits()
    assert len(found) == 1797
    assert len({picture.name for picture in found}) == 1797
    image = Image.open(io.BytesIO(found[0].read()))
    assert image.size == (8, 8)
    pixels = load_digits().images[0]
    assert abs(image.getpixel((2, 0)) / 255 * 16 - pixels[0][2]) < 0.5  # type: ignore[operator]


def test_digits_limit_per_class() -> None:
    found = datasets.digits(per_class=3)
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
    found = {picture.name: picture.label for picture in datasets.folder(tmp_path)}
    assert found == {"basset_hound_12.jpg": "basset_hound", "pug/x.PNG": "pug"}


def test_folder_picture_without_class_raises(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"holiday\.jpg: no class"):
        datasets.folder(tmp_path)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_folder_without_pictures_raises(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"not a folder|has no pictures"):
        datasets.folder(tmp_path / name)


def test_upload_sends_missing_and_changed_pictures(target: Target) -> None:
    digits = datasets.digits(per_class=2)
    seen: list[int] = []
    first = datasets.upload(target, "pets", "digits", digits, seen.append)
    assert (first.uri, first.sent, len(first.classes)) == ("s3://pets/data/digits/", 20, 10)
    assert seen == list(range(1, 21))
    target.client("s3").delete_object(Bucket="pets", Key="data/digits/0_000.png")
    target.client("s3").put_object(Bucket="pets", Key="data/digits/0_001.png", Body=b"other")
    assert datasets.upload(target, "pets", "digits", digits, seen.append).sent == 2


def test_check_name_rejects_paths() -> None:
    assert datasets.check_name("digits-2") == "digits-2"
    with pytest.raises(UsageError, match="invalid data set name"):
        datasets.check_name("../x")


# --- pets -----------------------------------------------------------------------------------------

NAMES = ("Abyssinian_1.jpg", "Abyssinian_2.jpg", "pug_7.jpg")


@functools.cache  # gzip writes down when it was made: a second later it is another file
def packed(names: tuple[str, ...] = NAMES) -> bytes:
    """An archive like the original: pictures and other files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in (*names, "Abyssinian_1.mat"):
            entry = tarfile.TarInfo(f"images/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return out.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "images.tar.gz"
    path.write_bytes(packed())
    return path


def test_open_pictures_unpacks_archive_temporarily(archive: Path) -> None:
    with datasets.open_pictures(archive) as found:
        assert {picture.label for picture in found} == {"Abyssinian", "pug"}
        assert [picture.read() for picture in found] == [name.encode() for name in NAMES]
    assert [path.name for path in archive.parent.iterdir()] == ["images.tar.gz"]
    with datasets.open_pictures(archive, per_class=1) as found:
        assert len(found) == 2


def test_open_pictures_reads_folder(tmp_path: Path) -> None:
    (tmp_path / "pug_1.jpg").write_bytes(b"x")
    with datasets.open_pictures(tmp_path) as found:
        assert [picture.name for picture in found] == ["pug_1.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("images.zip", b"PK", "not a supported archive"),
        ("images.tgz", b"<html>", "could not unpack"),
        ("images.tar.gz", packed()[:100], "could not unpack"),
        ("images.tar.gz", packed(()), "has no pictures"),
    ],
    ids=["another kind", "no archive", "cut off", "empty"],
)
def test_open_pictures_rejects_other_files(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said), datasets.open_pictures(tmp_path / name):
        pass


def test_open_pictures_rejects_paths_outside_archive(tmp_path: Path) -> None:
    (tmp_path / "images.tgz").write_bytes(packed(("../../../outside_1.jpg",)))
    with (
        pytest.raises(UsageError, match="outside"),
        datasets.open_pictures(tmp_path / "images.tgz"),
    ):
        pass
    assert not list(tmp_path.parent.rglob("outside_1.jpg"))


class Server:
    """Serves one file on loopback, at most `cut` bytes per response, with or without ranges."""

    def __init__(self, content: bytes, *, cut: int | None = None, ranges: bool = True) -> None:
        self.asked: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.asked.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
                self.send_response(206 if start else 200)
                self.end_headers()
                rest = content[start:]
                self.wfile.write(rest if cut is None else rest[:cut])

            def log_message(self, *_: object) -> None:
                """Discard the access log."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.source = datasets.Download(
            url=f"http://127.0.0.1:{self._server.server_port}/images.tar.gz",
            bytes=len(content),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path))
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.close()


def test_download_fetches_archive_once(serving: list[Server]) -> None:
    serving.append(Server(packed()))
    seen: list[int] = []
    path = datasets.download_pets(seen.append, serving[0].source)
    assert path.read_bytes() == packed()
    assert seen[-1] == len(packed())
    assert datasets.download_pets(seen.append, serving[0].source) == path
    assert len(serving[0].asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_download_resumes_after_interruption(serving: list[Server], *, ranges: bool) -> None:
    serving.append(Server(packed(), cut=100))
    with pytest.raises(EmrctlError, match="ended after 100 of"):
        datasets.download_pets(lambda _done: None, serving[0].source)
    serving.append(Server(packed(), ranges=ranges))
    assert datasets.download_pets(lambda _done: None, serving[1].source).read_bytes() == packed()
    assert serving[1].asked == ["bytes=100-"]


def test_download_rejects_wrong_checksum(serving: list[Server]) -> None:
    serving.append(Server(b"x" * len(packed())))
    source = datasets.Download(url=serving[0].source.url, bytes=len(packed()), md5="0")
    with pytest.raises(EmrctlError, match="unexpected checksum"):
        datasets.download_pets(lambda _done: None, source)
    assert not list(datasets.pets_archive().parent.iterdir())


def test_download_unreachable_server_suggests_local_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMRCTL_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    unreachable = datasets.Download(url=f"http://127.0.0.1:{port}/images.tar.gz")
    with pytest.raises(NotFoundError, match="could not download") as caught:
        datasets.download_pets(lambda _done: None, unreachable)
    assert "emrctl data pets PATH" in caught.value.hint
