"""Output of a run's job: its URI and its download."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from emrctl.aws.target import Target
from emrctl.errors import NotFoundError
from emrctl.runs import pull
from emrctl.runs.workspace import Workspace
from tests.facts import run_on

RUN = replace(run_on("j-1"), bucket="pets")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ((), "{own}"),
        (("--output", "s3://pets/features/"), "s3://pets/features"),
        (("--output=s3://pets/features", "--x", "1"), "s3://pets/features"),
        (("--output", "s3://a/b", "--output", "s3://c/d"), "s3://c/d"),
        (("--output", "hdfs:///x"), "{own}"),
        (("--output",), "{own}"),
    ],
)
def test_output_uri_is_last_s3_output_argument(arguments: tuple[str, ...], place: str) -> None:
    found = pull.output_uri(replace(RUN, arguments=arguments))
    assert found == place.format(own=f"{RUN.prefix}/output")


@pytest.fixture
def workspace(mocked: Target) -> Workspace:
    """A bucket with a page, two models and a key with parent folders."""
    s3 = mocked.client("s3")
    s3.create_bucket(Bucket="pets")
    below = f"runs/{RUN.id}/output/"
    for name in ("report.html", "models/", "models/a/w.npy", "models/b/w.npy", "../../../evil"):
        s3.put_object(Bucket="pets", Key=below + name, Body=name.encode())
    return cast("Workspace", SimpleNamespace(target=mocked))


def test_download_replaces_files_in_folder(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / "models").mkdir(parents=True)
    (folder / "report.html").write_text("of yesterday")
    found = pull.download(workspace, RUN, folder)
    names = ["models/a/w.npy", "models/b/w.npy", "report.html"]
    assert sorted(str(path.relative_to(folder)) for path in found.files) == names
    assert found.size_bytes == sum(map(len, names))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(found.files)
    assert (folder / "report.html").read_text() == "report.html"


def test_download_with_pattern_selects_files(workspace: Workspace, tmp_path: Path) -> None:
    assert [path.name for path in pull.download(workspace, RUN, tmp_path, "*.html").files] == [
        "report.html"
    ]
    assert len(pull.download(workspace, RUN, tmp_path, "models/*").files) == 2


def test_download_without_match_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has no output '\*\.png'") as caught:
        pull.download(workspace, RUN, tmp_path / "none", "*.png")
    assert "aws s3 ls s3://pets/runs/" in caught.value.hint
    assert not (tmp_path / "none").exists()
